# Completion for bash: source this file, or put it into /etc/bash_completion.d.

# The word to complete and the one before it; in --option=word they are three for bash.
_mullion_here() {
    word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    if [ "$word" = "=" ]; then
        word=
    elif [ "$before" = "=" ]; then
        before=${COMP_WORDS[COMP_CWORD-2]}
    fi
}

_mullion_check() {
    local word before
    _mullion_here
    COMPREPLY=()
    case $before in
    --cpus | --memory | --cmdline | --module) return ;;
    [!-]*) [ "${COMP_WORDS[COMP_CWORD-2]}" = --module ] && mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
    --modules) mapfile -t COMPREPLY < <(compgen -d -- "$word") && return ;;
    --machine | --svg | --hypervisor) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
    esac
    case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W "--modules --module --hypervisor --cmdline --cpus --memory --machine --json --svg --strict --help --version" -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -f -X '!*.toml' -- "$word"; compgen -d -- "$word") ;;
    esac
}

_mullion_image() {
    local word before
    _mullion_here
    COMPREPLY=()
    case $before in
    --mac | --dnsmasq | --server | --cmdline) return ;;
    --netboot) mapfile -t COMPREPLY < <(compgen -d -- "$word") && return ;;
    --iso | --disk | --hypervisor) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
    esac
    case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W "--iso --disk --netboot --mac --dnsmasq --server --cmdline --hypervisor --help" -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -f -X '!*.toml' -- "$word"; compgen -d -- "$word") ;;
    esac
}

_mullion_inventory() {
    local word before
    _mullion_here
    COMPREPLY=()
    case $before in
    --cpus | --memory) return ;;
    --log) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "--bochs --cpus --memory --log --help -device" -- "$word")
}

_mullion_run() {
    local word=${COMP_WORDS[COMP_CWORD]}
    case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W "--bochs --uefi --help" -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -f -X '!*.toml' -- "$word"; compgen -d -- "$word") ;;
    esac
}

# Tools that take words, and tools that take files.
_mullion_words() {
    local word=${COMP_WORDS[COMP_CWORD]} words
    case ${COMP_WORDS[0]} in
    *fetch-linux) words="cloud stock rt --help" ;;
    *make-initrd) words="plain stress pci --help" ;;
    *setup) words="build run run-bochs test --list --help" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

_mullion_files() {
    local word=${COMP_WORDS[COMP_CWORD]}
    case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W "--help" -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    esac
}

complete -o filenames -F _mullion_check mullion-check build/tools/mullion-check
complete -o filenames -F _mullion_image mullion-image tools/mullion-image
complete -o filenames -F _mullion_inventory tools/inventory
complete -o filenames -F _mullion_run tools/run
complete -F _mullion_words tools/fetch-linux tools/make-initrd tools/setup
complete -o filenames -F _mullion_files tools/extract-vmlinux tools/fetch-deb tools/make-font tools/make-grub tools/make-iso
