#!/usr/bin/env bash
# Makes the virtual environment and installs the project into it: `set_up.sh runtime` for training
# and serving, `set_up.sh tpu` and `set_up.sh cuda` for both on accelerators, `set_up.sh test` for
# the tests too, `set_up.sh parity` with PyTorch beside them, `set_up.sh topology` with the compiler
# of TPUs, `set_up.sh clients` with clients of the server, `set_up.sh arena` with the engines of the
# published benchmarks, `set_up.sh beam` with Apache Beam in place of the libraries that it refuses.
# PYTHON and VENV choose the interpreter and the folder. Safe to repeat; a failed step ends the
# script and shows its output.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON="${PYTHON:-python3}"
VENV="${VENV:-.venv}"
KIND="${1:-runtime}"

fail() {
  echo "error: $*" >&2
  exit 2
}

# Runs a command quietly; its output appears only where it fails.
quietly() {
  local log status=0
  log="$(mktemp)"
  "$@" >"$log" 2>&1 || status=1
  if [ "$status" != 0 ]; then
    cat "$log" >&2
    echo "error: this command failed: $*" >&2
  fi
  rm -f "$log"
  return "$status"
}

install_debian_package() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    return 1
  fi
  echo "Installing the Debian package $1"
  quietly apt-get update -qq &&
    quietly env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1"
}

make_environment() {
  command -v "$PYTHON" >/dev/null || fail "'$PYTHON' is not there; install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3 …"
  local version
  version="$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "'$PYTHON' is Python $version; 3.11 or newer is needed. Name one that is: make PYTHON=/path/to/python3 …"
  # Debian splits the module that makes environments into a package of its own.
  if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
    install_debian_package "python$version-venv" ||
      fail "'$PYTHON' cannot make virtual environments; as root: apt-get install python$version-venv"
  fi
  echo "Making $VENV with Python $version"
  quietly "$PYTHON" -m venv "$VENV" || exit 2
}

"$VENV/bin/python" -m pip --version >/dev/null 2>&1 || make_environment

target=".[serve]"
[ "$KIND" = test ] && target=".[test]"
[ "$KIND" = parity ] && target=".[test,parity]"
[ "$KIND" = beam ] && target=".[test,beam]"
[ "$KIND" = clients ] && target=".[test,clients]"
[ "$KIND" = arena ] && target=".[test,environments,alfworld]"
[ "$KIND" = tpu ] && target=".[tpu,gcs,serve]"
[ "$KIND" = cuda ] && target=".[cuda,gcs,serve]"
[ "$KIND" = topology ] && target=".[test,topology]"
constraints=constraints.txt
free=""
[ "$KIND" = beam ] && free='protobuf|pyarrow'
[ "$KIND" = clients ] && free='fsspec'
if [ -n "$free" ]; then
  constraints="$(mktemp)"
  trap 'rm -f "$constraints"' EXIT
  grep -vE "^($free)==" constraints.txt >"$constraints"
fi
echo "Installing agentbank_jax and what it needs into $VENV (minutes the first time; later runs skip it)"
quietly "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input -c "$constraints" -e "$target" || exit 2

# SeqIO's SentencePiece refuses Beam's protobuf, and Beam runs with the newer one.
if [ "$KIND" = beam ]; then
  quietly "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input --no-deps --upgrade \
    --target "$VENV/newer" "$(grep '^protobuf==' constraints.txt)" || exit 2
fi

# Takes a command, the Debian package that has it, and what is left out without it.
want_command() {
  if ! command -v "$1" >/dev/null && ! install_debian_package "$2"; then
    echo "note: $1 is missing, so tests of $3 are left out. To have them: sudo apt-get install $2"
  fi
}

if [ "$KIND" = test ] || [ "$KIND" = arena ]; then
  want_command bwrap bubblewrap "programs in the sandbox"
fi
if [ "$KIND" = arena ]; then
  want_command java openjdk-17-jre-headless "ScienceWorld and TextWorldExpress"
  want_command chromium chromium "web pages"
  want_command chromedriver chromium-driver "web pages"
fi
