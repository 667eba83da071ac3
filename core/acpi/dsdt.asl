/* The namespace of a partition's small PC: soft-off, one serial port, the clock. What is not listed
 * does not exist. Source: ACPI 6.4, ACPI Source Language Reference. */
DefinitionBlock ("", "DSDT", 2, "MULLN", "MULLION", 1)
{
    /* SLP_TYP for soft-off; written to the PM1a control block, 0x604. */
    Name (\_S5, Package () { 5, 5, 0, 0 })

    Scope (\_SB)
    {
        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_STA, 0x0f)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03f8, 0x03f8, 1, 8)
                IRQNoFlags () { 4 }
            })
        }

        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 1, 2)
                IRQNoFlags () { 8 }
            })
        }
    }
}
