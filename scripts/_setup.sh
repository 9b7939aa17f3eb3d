# Shared by scripts/demo, scripts/test and scripts/check; sourced, not run. POSIX sh.
#
# Expects ROOT, the top of the repository. Provides `setup KIND EXTRAS PACKAGES`, which makes
# $ROOT/.venv hold the pinned packages and the system hold the given libraries and programs, or
# exits with code 2 after naming the exact command that a person has to run.
#
# A setup that was complete leaves a stamp, written last, with a checksum of all that decided it.
# While the checksum is the same, the next run starts at once; an interrupted one is taken up again.

VENV=$ROOT/.venv

say() { printf 'neuronaut: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }

# --- the system -------------------------------------------------------------------------------

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# install_system PACKAGE...: by apt-get where that is allowed, else name the command and stop.
install_system() {
    command="apt-get install -y --no-install-recommends $*"
    if ! command -v apt-get >/dev/null 2>&1; then
        die "these are missing, please install them (names as in Debian): $*"
    fi
    if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
        die "needs system packages. Please run, then start again:  sudo $command"
    fi
    say "installing system packages: $*"
    apt_log=$(mktemp)
    if ! {
        # Old lists are good enough more often than not; an update is tried only when they are not.
        apt_get install "$@" || { as_root apt-get update -qq && apt_get install "$@"; }
    } >"$apt_log" 2>&1 </dev/null; then
        tail -n 5 "$apt_log" >&2
        rm -f "$apt_log"
        die "apt-get failed. Please run, then start again:  apt-get update && $command"
    fi
    rm -f "$apt_log"
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=120 "$@"
}

# missing_system PACKAGE...: prints those of which the thing that is needed is not there.
missing_system() {
    for package in "$@"; do
        case $package in
            gcc) has_program cc ;;
            libc6-dev) [ -e /usr/include/stdint.h ] ;;
            libegl1) has_library libEGL.so.1 ;;
            libgl1) has_library libGL.so.1 ;;
            libxcursor1) has_library libXcursor.so.1 ;;
            libgl1-mesa-dri) has_driver ;;
            chromium) has_program chromium ;;
            xvfb) has_program Xvfb ;;
            *) has_program "$package" ;;
        esac || printf ' %s' "$package"
    done
}

has_program() { command -v "$1" >/dev/null 2>&1; }

has_library() { "$PYTHON" -c "import ctypes, sys; ctypes.CDLL(sys.argv[1])" "$1" 2>/dev/null; }

# A software driver of Mesa: one file per driver up to 24, one for all of them since.
has_driver() {
    for file in /usr/lib/dri/swrast_dri.so /usr/lib/*/dri/swrast_dri.so \
        /usr/lib64/dri/swrast_dri.so /usr/lib/*/libgallium-*.so /usr/lib64/libgallium-*.so; do
        [ -e "$file" ] && return 0
    done
    return 1
}

# --- Python -----------------------------------------------------------------------------------

# Sets PYTHON to the first interpreter of a version that the pinned packages exist for.
find_python() {
    fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
    for PYTHON in ${NEURONAUT_PYTHON:-python3 python3.13 python3.12 python3.11}; do
        "$PYTHON" -c "$fits" 2>/dev/null && return
    done
    found=$(python3 --version 2>/dev/null || echo "no python3")
    die "needs Python 3.11, 3.12 or 3.13; found $found"
}

checksum() {
    {
        printf '%s %s ' "$ROOT" "$*"
        "$PYTHON" -c 'import sys; print(sys.version, sys.prefix)'
        cat "$ROOT/pyproject.toml" "$ROOT/constraints.txt" "$ROOT/scripts/_setup.sh"
    } | cksum
}

make_venv() {
    if "$VENV/bin/python" -m pip --version >/dev/null 2>&1 && [ -e "$VENV/.started" ] &&
        [ "$(cat "$VENV/.started")" = "$1" ]; then
        return
    fi
    say "making a virtual environment in $VENV"
    rm -rf "$VENV"
    "$PYTHON" -m venv "$VENV" || die "python3 -m venv failed"
    printf '%s\n' "$1" >"$VENV/.started"
}

install_python() {
    say "installing the pinned Python packages ($1), on first use a few minutes"
    log=$VENV/setup.log
    if ! PIP_CONSTRAINT='' "$VENV/bin/python" -m pip install --disable-pip-version-check \
        --no-input --progress-bar off -c "$ROOT/constraints.txt" -e "$ROOT[$1]" \
        >"$log" 2>&1 </dev/null; then
        grep -v '^WARNING' "$log" | tail -n 8 >&2
        die "the packages could not be installed; the whole log is in $log"
    fi
}

# Without its libraries VTK does not raise an error, it crashes: so it is tried in a process.
check_graphics() {
    if ! VTK_DEFAULT_OPENGL_WINDOW=vtkEGLRenderWindow "$VENV/bin/python" -c '
from vtkmodules.vtkRenderingOpenGL2 import vtkEGLRenderWindow
w = vtkEGLRenderWindow()
w.SetOffScreenRendering(1)
w.Render()
raise SystemExit(not w.SupportsOpenGL())' >/dev/null 2>&1; then
        die "OpenGL does not work here although its libraries are there;" \
            "try:  apt-get install --reinstall libegl1 libgl1-mesa-dri"
    fi
}

# --- all of it --------------------------------------------------------------------------------

# setup KIND EXTRAS PACKAGES
setup() {
    find_python
    # The compiled part is built when the package is installed, if there is a compiler then.
    compiled=$(cat "$ROOT/explorer/pyramid/sums/sums.c" "$ROOT/scripts/build_sums.py" | cksum)
    sum="$(checksum "$2") $compiled $(command -v cc || true)"
    stamp=$VENV/.complete-$1
    if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$sum" ] && [ -x "$VENV/bin/neuronaut" ] &&
        [ -z "$(missing_system $3)" ]; then
        return
    fi
    # Two at once must not install into one place. The lock ends with this shell.
    if has_program flock; then
        exec 9<"$ROOT/pyproject.toml"
        flock -n 9 || { say "waiting for another setup of this folder"; flock 9; }
    fi
    packages=$(missing_system $3)
    "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || packages="python3-venv $packages"
    # shellcheck disable=SC2086
    [ -z "$packages" ] || install_system $packages
    # Quiet from the next run on only when all of this has come to its end.
    make_venv "$(checksum)"
    if ! { [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$sum" ]; }; then
        install_python "$2"
        check_graphics
        printf '%s\n' "$sum" >"$stamp.new" && mv "$stamp.new" "$stamp"
    fi
    say "ready"
    exec 9<&-
}
