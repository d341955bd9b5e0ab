# shellcheck shell=bash
# What the launchers share: quoting, errors, suggestions. Sourced, with ROOT set to the repository.

# What a run that was pre-empted and has saved ends with (EX_TEMPFAIL): the same command goes on.
export PREEMPTED=75

fail() {
  echo "error: $*" >&2
  exit 2
}

# Prints a word so that any shell reads it back as it is.
quote() {
  local single="'" escaped="'\\''"
  case "$1" in
    '' | *[!A-Za-z0-9_./:=@%+,-]*) printf "'%s'" "${1//$single/$escaped}" ;;
    *) printf '%s' "$1" ;;
  esac
}

quote_all() {
  local word separator=
  for word in "$@"; do
    printf '%s%s' "$separator" "$(quote "$word")"
    separator=' '
  done
}

# Runs a command, or prints it where DRY_RUN is 1.
run() {
  if [ "$DRY_RUN" = 1 ]; then
    quote_all "$@"
    echo
  else
    "$@"
  fi
}

# " Did you mean 'x'?" for a word and the words that exist.
did_you_mean() {
  PYTHONPATH="$ROOT" python3 -B -c \
    'import sys; from agentbank_jax.errors import did_you_mean; print(did_you_mean(sys.argv[1], sys.argv[2:]), end="")' \
    "$@" 2>/dev/null || true
}

# Fails for a flag that is none of the others given.
unknown_flag() {
  local name="${1%%=*}"
  shift
  fail "unknown argument '$name'.$(did_you_mean "$name" "$@") See --help; flags of the program come after --."
}

# Fails for a number that is none.
check_number() {
  case "$2" in
    '' | *[!0-9]*) fail "$1=$2: expected a number." ;;
  esac
}

# Fails for a recipe that the tree does not have.
check_recipe() {
  local recipes=() file
  [ -n "$1" ] || fail "no recipe is named; expected --recipe=NAME, such as samoyed_7b.gin."
  if [ -f "$ROOT/$1" ] || [ -f "$ROOT/gin/$1" ]; then
    return
  fi
  while IFS= read -r file; do recipes+=("${file#"$ROOT/gin/"}"); done < <(find "$ROOT/gin" -name '*.gin')
  fail "--recipe=$1: no such gin file in the tree.$(did_you_mean "$1" "${recipes[@]}")"
}

# Prints the lines of the calling script's opening comment.
usage() {
  sed -n -e '/^#SBATCH/d' -e '2,/^[^#]/s/^#\( \{1\}\|$\)//p' "$1"
}
