#!/usr/bin/env bash
# Brings up .venv: torch by pip (it honours pip's own configuration and wheels at hand), the rest by uv, under constraints.txt.
#
# Nothing changed: returns at once. Otherwise installs what is missing; a .venv that is broken, half made, moved here from
# another folder, or of another Python than PYTHON asks for is made anew.
#   PYTHON       interpreter to build with (default: the one .venv was made with, else python3); 3.11 or newer
#   TORCH_INDEX  package index for torch (default: PyTorch's CPU index on a Linux machine without an NVIDIA driver, else pip's)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly venv=$PWD/.venv cpu_index=https://download.pytorch.org/whl/cpu
readonly extras=hf,data,onnx,large,nir,hw,events,agents,dev$(command -v cc >/dev/null && echo ,logic) # pyeda is built from its source
readonly stamp=$venv/.spikeloom-stamp unfinished=$venv/.spikeloom-unfinished

version_of() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }

# What .venv is made from, as one checksum: a change of any part makes the stamp stale.
recipe() { { echo "$venv $1"; cat pyproject.toml constraints.txt scripts/setup.sh; } | cksum; }

refuse() {
    printf 'setup: %s\n  found: PYTHON=%s\n  allowed: Python 3.11 or newer\n  what to do: name one, as in: make setup PYTHON=python3.12\n' \
        "$1" "$python" >&2
    exit 2
}

# The interpreter asked for, else the one that .venv was made with, else python3.
choose_python() {
    local base='import sys; print(sys._base_executable)'
    python=${PYTHON:-$("$venv/bin/python" -c "$base" 2>/dev/null || echo python3)}
    version=$(version_of "$python") || refuse "no Python that runs"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || refuse "this Python is too old: $version"
}

runs() { [ "$(version_of "$venv/bin/python")" = "$version" ]; }

# True for a whole environment of this folder and this Python: it runs, its pip answers, no installation was cut short in it.
usable() {
    [ ! -e "$unfinished" ] && runs &&
        grep -qsF "$venv" "$venv/bin/activate" && "$venv/bin/python" -m pip --version >/dev/null 2>&1
}

# Runs a command that leaves the environment half made if it is cut short.
guarded() {
    touch "$unfinished"
    "$@"
    rm "$unfinished"
}

make_venv() {
    echo "setup: making .venv with Python $version" >&2
    rm -rf "$venv"
    mkdir "$venv"
    guarded "$python" -m venv "$venv"
}

# PyPI's torch for Linux carries CUDA (3 GB); where no NVIDIA driver is, PyTorch's CPU wheels do, if their index can be reached.
torch_index() {
    local reach='import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)'
    if [ -n "${TORCH_INDEX:-}" ]; then
        echo "$TORCH_INDEX"
    elif [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null &&
        "$venv/bin/python" -c "$reach" "$cpu_index/torch/" 2>/dev/null; then
        echo "$cpu_index"
    fi
}

# The dry run meets what cannot be resolved or reached before anything in .venv is touched.
install() {
    local index pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
    local uv=("$venv/bin/uv" pip install --quiet --python "$venv/bin/python" -c constraints.txt -e ".[$extras]")
    index=$(torch_index)
    echo "setup: installing into .venv (a minute or two the first time)" >&2
    guarded "${pip[@]}" -c constraints.txt ${index:+--extra-index-url "$index"} torch
    guarded "${pip[@]}" uv
    "${uv[@]}" --dry-run
    guarded "${uv[@]}"
}

choose_python
if [ "$(cat "$stamp" 2>/dev/null)" = "$(recipe "$version")" ] && runs && [ ! -e "$unfinished" ]; then exit 0; fi
usable || make_venv
rm -f "$stamp"
install
recipe "$version" >"$stamp"
