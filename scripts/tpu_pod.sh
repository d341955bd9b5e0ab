#!/usr/bin/env bash
# Trains on a Cloud TPU pod: scripts/tpu_pod.sh COMMAND --name=NAME --zone=ZONE [FLAGS] [-- FLAGS OF train.py]
#
# commands:
#   train    create the queued resource or reuse it, wait until it is active, copy this tree, install it, train on all
#            workers, follow the log, go on after a pre-emption, and delete the resource at the end
#   logs     follow the log of a run
#   status   print the state of the resource and of the run on each worker
#   delete   delete the resource
#
# flags:
#   --name=NAME             of the queued resource and its TPU
#   --zone=ZONE             such as us-west4-a
#   --project=PROJECT       default: that of gcloud's configuration
#   --topology=NAME         of one slice, such as v5e-16, v5p-128, v6e-256 (train)
#   --slices=N              of that type, joined by the data centre's network (default: 1)
#   --runtime=VERSION       software of the workers (default: that of the type)
#   --spot                  cheaper, and may be pre-empted at any time
#   --recipe=NAME           gin file, shipped or in this tree (train)
#   --model_dir=FOLDER      where the run lives: a folder that all workers share, such as a mounted bucket
#   --env=NAME=VALUE        a variable for the run; may be repeated
#   --setup=COMMAND         what each worker runs before the training, such as mounting a bucket
#   --python=NAME           Python of the workers, 3.11 or newer (default: python3.11)
#   --max_restarts=N        after pre-emptions (default: 100)
#   --keep                  leave the resource at the end of the training
#   --poll_seconds=N        between looks at the resource (default: 20)
#   --dry_run               print every command in the order of a first start, and run none
#
# The same command again follows a run that goes on. The exit status is that of the training; 75 says that it was
# pre-empted more often than --max_restarts.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=scripts/launching.sh
. "$ROOT/scripts/launching.sh"

FLAGS=(--name --zone --project --topology --slices --runtime --spot --recipe --model_dir --env --setup --python
  --max_restarts --keep --poll_seconds --dry_run --help)

NAME='' ZONE='' PROJECT='' TOPOLOGY='' SLICES=1 RUNTIME='' SPOT=0 RECIPE='' MODEL_DIR='' SETUP='' PYTHON=python3.11
MAX_RESTARTS=100 KEEP=0 POLL=20 DRY_RUN=0
VARIABLES=() ARGUMENTS=()

parse() {
  COMMAND="${1:-}"
  case "$COMMAND" in
    train | logs | status | delete) shift ;;
    --help | -h) usage "${BASH_SOURCE[0]}" && exit 0 ;;
    '' | --*) fail "no command is named; expected train, logs, status or delete. See --help." ;;
    *) fail "unknown command '$COMMAND'.$(did_you_mean "$COMMAND" train logs status delete) See --help." ;;
  esac
  while [ $# -gt 0 ]; do
    case "$1" in
      --name=*) NAME="${1#*=}" ;;
      --zone=*) ZONE="${1#*=}" ;;
      --project=*) PROJECT="${1#*=}" ;;
      --topology=*) TOPOLOGY="${1#*=}" ;;
      --slices=*) SLICES="${1#*=}" ;;
      --runtime=*) RUNTIME="${1#*=}" ;;
      --spot) SPOT=1 ;;
      --recipe=*) RECIPE="${1#*=}" ;;
      --model_dir=*) MODEL_DIR="${1#*=}" ;;
      --env=*) VARIABLES+=("${1#*=}") ;;
      --setup=*) SETUP="${1#*=}" ;;
      --python=*) PYTHON="${1#*=}" ;;
      --max_restarts=*) MAX_RESTARTS="${1#*=}" ;;
      --keep) KEEP=1 ;;
      --poll_seconds=*) POLL="${1#*=}" ;;
      --dry_run) DRY_RUN=1 ;;
      --help) usage "${BASH_SOURCE[0]}" && exit 0 ;;
      --)
        shift
        ARGUMENTS=("$@")
        break
        ;;
      *) unknown_flag "$1" "${FLAGS[@]}" ;;
    esac
    shift
  done
}

check() {
  local variable
  [[ "$NAME" =~ ^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$ ]] ||
    fail "--name=$NAME: expected up to 50 lower-case letters, digits and hyphens, such as --name=samoyed-7b."
  [[ "$ZONE" =~ ^[a-z]+-[a-z]+[0-9]+-[a-z]$ ]] || fail "--zone=$ZONE: expected a zone, such as --zone=us-west4-a."
  check_number --slices "$SLICES"
  check_number --max_restarts "$MAX_RESTARTS"
  check_number --poll_seconds "$POLL"
  [ "$SLICES" -ge 1 ] || fail "--slices=$SLICES: expected at least 1."
  NODES=("$NAME")
  if [ "$SLICES" -gt 1 ]; then
    NODES=()
    for ((slice = 0; slice < SLICES; slice++)); do NODES+=("$NAME-$slice"); done
  fi
  [ "$COMMAND" = train ] || return 0

  [[ "$TOPOLOGY" =~ ^(v[2-4]|v5litepod|v5e|v5p|v6e)-[1-9][0-9]*$ ]] ||
    fail "--topology=$TOPOLOGY: expected a slice by the name that Cloud TPU gives it, such as v5e-16, v5p-128 or v6e-256."
  TOPOLOGY="${TOPOLOGY/#v5e-/v5litepod-}"
  case "$TOPOLOGY" in
    v5litepod-*) : "${RUNTIME:=v2-alpha-tpuv5-lite}" ;;
    v5p-*) : "${RUNTIME:=v2-alpha-tpuv5}" ;;
    v6e-*) : "${RUNTIME:=v2-alpha-tpuv6e}" ;;
    *) : "${RUNTIME:=tpu-ubuntu2204-base}" ;;
  esac
  [[ "$PYTHON" =~ ^[A-Za-z0-9_./-]+$ ]] || fail "--python=$PYTHON: expected a program, such as python3.11."
  for variable in ${VARIABLES[@]+"${VARIABLES[@]}"}; do
    [[ "$variable" =~ ^[A-Za-z_][A-Za-z0-9_]*= ]] || fail "--env=$variable: expected --env=NAME=VALUE."
  done
  check_recipe "$RECIPE"
  case "$MODEL_DIR" in
    /*) ;;
    *) echo "note: without a --model_dir that all workers share, such as a mounted bucket, the run is lost with the TPU." >&2 ;;
  esac
}

# ---- what workers do ------------------------------------------------------------------------------------------------

# Folders in the home of each worker: the tree, and beside it the run's process id, exit status and log.
TREE=agentbank_jax
RUN=agentbank_jax_run

remote_status() {
  cat <<EOF
mkdir -p $RUN && cd $RUN && if [ -e status ]; then echo "run: ended \$(cat status)"; elif [ ! -e pid ]; then echo "run: none"; elif kill -0 "\$(cat pid)" 2>/dev/null; then echo "run: running"; else echo "run: lost"; fi
EOF
}

remote_install() {
  cat <<EOF
mkdir -p $TREE && tar -xzf $TREE.tar.gz -C $TREE && cd $TREE && { command -v $PYTHON >/dev/null || { sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $PYTHON $PYTHON-venv; }; } && PYTHON=$PYTHON scripts/set_up.sh tpu${SETUP:+ && bash -c $(quote "$SETUP")}
EOF
}

# The run goes on where the connection ends. One that is there already is left alone.
remote_start() {
  local command
  command="cd $TREE && env $(quote_all ${VARIABLES[@]+"${VARIABLES[@]}"}) .venv/bin/python -u train.py \
$(quote_all --gin_file="$RECIPE" ${MODEL_DIR:+--model_dir="$MODEL_DIR"} ${ARGUMENTS[@]+"${ARGUMENTS[@]}"})"
  command="($command); echo \$? >~/$RUN/status.new; mv ~/$RUN/status.new ~/$RUN/status"
  cat <<EOF
mkdir -p $RUN && if [ ! -e $RUN/status ] && [ -e $RUN/pid ] && kill -0 "\$(cat $RUN/pid)" 2>/dev/null; then exit 0; fi; rm -f $RUN/status; setsid nohup bash -c $(quote "$command") >$RUN/log 2>&1 </dev/null & echo \$! >$RUN/pid
EOF
}

# Prints the log of a worker from a line on, until its run has ended.
remote_follow() {
  cat <<EOF
cd $RUN || exit; touch log; tail -n $1 -F log & log=\$!; until [ -e status ] || ! kill -0 "\$(cat pid)" 2>/dev/null; do sleep 0.5; done; sleep 0.3; kill "\$log"
EOF
}

# ---- gcloud ---------------------------------------------------------------------------------------------------------

# Of a dry run: every command is printed, and answers as it would at a first start that succeeds.
dry_run() {
  exec 3>&1
  CREATED=0 STARTED=0
  gcloud() {
    echo "gcloud $(quote_all "$@")" >&3
    case "$*" in
      *" describe "*)
        [ "$CREATED" = 1 ] || { echo NOT_FOUND && return 1; }
        echo ACTIVE
        ;;
      *" ssh "*"run: ended"*) [ "$STARTED" = 1 ] && echo "run: ended 0" || echo "run: none" ;;
    esac
  }
  pack() { echo "git ls-files … | tar -czf $1" >&3; }
  sleep() { :; }
}

queued() {
  local action="$1"
  shift
  gcloud compute tpus queued-resources "$action" "$NAME" --zone="$ZONE" ${PROJECT:+--project="$PROJECT"} "$@"
}

# Runs a command on workers of one node: ssh_node NODE WORKERS COMMAND.
ssh_node() {
  gcloud compute tpus tpu-vm ssh "$1" --zone="$ZONE" ${PROJECT:+--project="$PROJECT"} --worker="$2" --command="$3"
}

# Calls a function with each node and the words given, all at once.
on_nodes() {
  local node pid pids=() status=0
  for node in "${NODES[@]}"; do
    "$1" "$node" "${@:2}" &
    pids+=("$!")
    # A dry run prints them in order.
    if [ "$DRY_RUN" = 1 ]; then wait "$!"; fi
  done
  for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
  return "$status"
}

copy_to_node() {
  gcloud compute tpus tpu-vm scp "$2" "$1:$TREE.tar.gz" --zone="$ZONE" ${PROJECT:+--project="$PROJECT"} --worker=all
}

# What git would commit of the tree, changes included.
pack() {
  local file
  git -C "$ROOT" ls-files -z --cached --others --exclude-standard --deduplicate |
    while IFS= read -r -d '' file; do if [ -f "$ROOT/$file" ]; then printf '%s\0' "$file"; fi; done |
    tar -C "$ROOT" --null -T - -czf "$1" || fail "$ROOT cannot be packed: expected a git checkout."
}

# Sets STATE to that of the resource; MISSING where there is none.
read_state() {
  local output
  if output="$(queued describe --format='value(state.state)' 2>&1)"; then
    STATE="$(tail -n 1 <<<"$output")"
  elif grep -q NOT_FOUND <<<"$output"; then
    STATE=MISSING
  else
    fail "gcloud cannot describe $NAME: $(grep -m 1 . <<<"$output")"
  fi
}

# Sets RUNS to a line for each worker: none, running, lost, or ended STATUS.
read_runs() {
  local output
  RUNS=''
  output="$(on_nodes ssh_node all "$(remote_status)" 2>/dev/null)" || return 1
  RUNS="$(sed -n 's/.*run: \(none\|running\|lost\|ended [0-9]*\).*/\1/p' <<<"$output")"
  [ -n "$RUNS" ]
}

# A TPU answers some time after it is active.
read_runs_patiently() {
  local attempt
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    if read_runs; then return; fi
    sleep "$POLL"
  done
  fail "the workers of $NAME do not answer after $attempt attempts; look at: gcloud compute tpus tpu-vm ssh $NAME --zone=$ZONE"
}

# ---- the run --------------------------------------------------------------------------------------------------------

create() {
  local nodes=(--node-id="$NAME")
  if [ "$SLICES" -gt 1 ]; then nodes=(--node-count="$SLICES" --node-prefix="$NAME"); fi
  if [ "$SPOT" = 1 ]; then nodes+=(--spot); fi
  queued create --accelerator-type="$TOPOLOGY" --runtime-version="$RUNTIME" "${nodes[@]}" ||
    fail "$NAME could not be created; gcloud says why above."
  CREATED=1
}

delete() {
  queued delete --force --quiet || fail "$NAME could not be deleted, and may still cost; gcloud says why above."
}

# Waits until the resource is active; makes it, and makes it again where it was pre-empted.
make_active() {
  local told='' failures=0
  while read_state; do
    if [ "$STATE" != "$told" ]; then
      [ "$DRY_RUN" = 1 ] || echo "$NAME: $STATE" >&2
      told="$STATE"
    fi
    case "$STATE" in
      ACTIVE) return ;;
      MISSING) INSTALLED=0 && create ;;
      SUSPENDED | FAILED)
        if [ "$STATE" = FAILED ]; then failures=$((failures + 1)); fi
        [ "$failures" -lt 2 ] || fail "$NAME failed twice; see: gcloud compute tpus queued-resources describe $NAME --zone=$ZONE"
        delete
        ;;
      *) sleep "$POLL" ;;
    esac
  done
}

install() {
  ARCHIVE="$(mktemp -t agentbank_jax.XXXXXX)"
  trap 'rm -f "$ARCHIVE"' EXIT
  pack "$ARCHIVE"
  on_nodes copy_to_node "$ARCHIVE" || fail "the tree could not be copied to $NAME; gcloud says why above."
  on_nodes ssh_node all "$(remote_install)" || fail "the workers of $NAME could not be set up; they say why above."
  INSTALLED=1
}

# Follows the log of the first worker until no worker runs; sets STATE and RUNS.
follow() {
  local lines=+1 silent=0
  while :; do
    ssh_node "${NODES[0]}" 0 "$(remote_follow "$lines")" || true
    lines=0
    read_state
    [ "$STATE" = ACTIVE ] || return 0
    if read_runs; then
      silent=0
      grep -q running <<<"$RUNS" || return 0
    else
      silent=$((silent + 1))
      [ "$silent" -lt 30 ] || fail "the workers of $NAME do not answer. Their run may go on: the same command follows it."
    fi
    sleep "$POLL"
  done
}

train() {
  local restarts=0 status
  INSTALLED=0
  trap 'echo "the run on $NAME goes on, and costs: the same command follows it, and \"delete\" ends it." >&2; exit 130' INT
  while :; do
    make_active
    read_runs_patiently
    if ! grep -q running <<<"$RUNS"; then
      if [ "$INSTALLED" = 0 ]; then install; fi
      on_nodes ssh_node all "$(remote_start)" || fail "the run could not be started on $NAME; gcloud says why above."
      STARTED=1
    fi
    follow
    if [ "$STATE" = ACTIVE ]; then
      if ! grep -qv '^ended 0$' <<<"$RUNS"; then break; fi
      status="$(sed -n '/^ended 0$/d;s/^ended //p' <<<"$RUNS" | head -n 1)"
      if ! grep -q -e "^ended $PREEMPTED\$" -e lost -e none <<<"$RUNS"; then
        on_nodes ssh_node all "tail -n 20 $RUN/log" || true
        echo "error: the run ended with status $status; $NAME is left as it is, and costs: see logs, or delete it." >&2
        exit "$status"
      fi
    fi
    restarts=$((restarts + 1))
    if [ "$restarts" -gt "$MAX_RESTARTS" ]; then
      echo "error: pre-empted more than $MAX_RESTARTS times; the same command goes on." >&2
      exit "$PREEMPTED"
    fi
    echo "pre-empted; start $restarts of at most $MAX_RESTARTS more" >&2
  done
  if [ "$KEEP" = 1 ]; then
    echo "trained; $NAME is kept, and costs." >&2
  else
    delete
  fi
}

parse "$@"
check
if [ "$DRY_RUN" = 1 ]; then dry_run; fi
case "$COMMAND" in
  train) train ;;
  logs) ssh_node "${NODES[0]}" 0 "$(remote_follow +1)" ;;
  status)
    read_state
    echo "$NAME: $STATE"
    if [ "$STATE" = ACTIVE ]; then on_nodes ssh_node all "$(remote_status)"; fi
    ;;
  delete) delete ;;
esac
