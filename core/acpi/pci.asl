/* The PCI bus of a partition that has functions; a partition without gets no such table. The builder puts the 64-bit
 * window in. Source: ACPI 6.4, ACPI-Defined Devices and Device-Specific Objects; PCI Firmware Specification 3.2, _OSC and
 * Memory Mapped Configuration Space. */
DefinitionBlock ("", "SSDT", 2, "MULLN", "MULLIPCI", 1)
{
    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_SEG, 0)
            Name (_BBN, 0)

            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
                IO (Decode16, 0x0cf8, 0x0cf8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0x0000, 0x0cf7, 0, 0x0cf8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0x0d00, 0xffff, 0, 0xf300)
                /* Uncached, as stage 2 has BARs; not Prefetchable, or a BAR that is not could not lie there. */
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                             0, 0xc0000000, 0xfe8fffff, 0, 0x3e900000)
                /* Base, end and length are written by the builder, or an end tag over it. The last, the only such. */
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                             0, 0x100000000, 0x1ffffffff, 0, 0x100000000)
            })

            /* Native control: of the PCI Express capability. There are no hot plug, PME and error messages. */
            Method (_OSC, 4)
            {
                CreateDWordField (Arg3, 0, STAT)
                If (Arg0 == ToUUID ("33db4d5b-1ff7-401c-9657-7441c03dd766"))
                {
                    CreateDWordField (Arg3, 8, CTRL)
                    If (Arg1 != 1) { STAT |= 0x08 }
                    If (CTRL & ~0x10) { STAT |= 0x10 }
                    CTRL &= 0x10
                }
                Else { STAT |= 0x04 }
                Return (Arg3)
            }

            /* Every device has one function with INTA. Level, active low, as PCI is. */
            Name (_PRT, Package ()
            {
                Package () { 0x0001ffff, 0, 0, 17 },
                Package () { 0x0002ffff, 0, 0, 18 },
                Package () { 0x0003ffff, 0, 0, 19 },
                Package () { 0x0004ffff, 0, 0, 20 },
                Package () { 0x0005ffff, 0, 0, 21 },
                Package () { 0x0006ffff, 0, 0, 22 },
                Package () { 0x0007ffff, 0, 0, 23 },
                Package () { 0x0008ffff, 0, 0, 16 },
                Package () { 0x0009ffff, 0, 0, 17 },
                Package () { 0x000affff, 0, 0, 18 },
                Package () { 0x000bffff, 0, 0, 19 },
                Package () { 0x000cffff, 0, 0, 20 },
                Package () { 0x000dffff, 0, 0, 21 },
                Package () { 0x000effff, 0, 0, 22 },
                Package () { 0x000fffff, 0, 0, 23 },
                Package () { 0x0010ffff, 0, 0, 16 },
                Package () { 0x0011ffff, 0, 0, 17 },
                Package () { 0x0012ffff, 0, 0, 18 },
                Package () { 0x0013ffff, 0, 0, 19 },
                Package () { 0x0014ffff, 0, 0, 20 },
                Package () { 0x0015ffff, 0, 0, 21 },
                Package () { 0x0016ffff, 0, 0, 22 },
                Package () { 0x0017ffff, 0, 0, 23 },
                Package () { 0x0018ffff, 0, 0, 16 },
                Package () { 0x0019ffff, 0, 0, 17 },
                Package () { 0x001affff, 0, 0, 18 },
                Package () { 0x001bffff, 0, 0, 19 },
                Package () { 0x001cffff, 0, 0, 20 },
                Package () { 0x001dffff, 0, 0, 21 },
                Package () { 0x001effff, 0, 0, 22 },
                Package () { 0x001fffff, 0, 0, 23 }
            })
        }

        /* The configuration space: GUEST_ECAM_BASE, bus 0. */
        Device (MCFG)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate () { Memory32Fixed (ReadWrite, 0xfe900000, 0x00100000) })
        }
    }
}
