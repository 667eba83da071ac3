# Completion for bash: source this file, or put it into /etc/bash_completion.d.

_mullion_check() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    case $before in
    --cpus | --memory) return ;;
    --modules) mapfile -t COMPREPLY < <(compgen -d -- "$word") && return ;;
    --machine | --svg) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
    esac
    case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W "--modules --cpus --memory --machine --json --svg --strict --help --version" -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -f -X '!*.toml' -- "$word"; compgen -d -- "$word") ;;
    esac
}

_mullion_image() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
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
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    case $before in
    --cpus | --memory) return ;;
    --log) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "--bochs --cpus --memory --log --help -device" -- "$word")
}

_mullion_run() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    case $before in
    --iso-only) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
    esac
    case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W "--bochs --uefi --iso-only --help" -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -f -X '!*.toml' -- "$word"; compgen -d -- "$word") ;;
    esac
}

complete -o filenames -F _mullion_check mullion-check build/tools/mullion-check
complete -o filenames -F _mullion_image mullion-image tools/mullion-image
complete -o filenames -F _mullion_inventory tools/inventory
complete -o filenames -F _mullion_run tools/run
