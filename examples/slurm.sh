#!/bin/bash
# A probe on several Slurm nodes: sbatch examples/slurm.sh [DATASET] [options of raymoe probe]
# Two minutes before its time limit the job stops gracefully and queues itself again; it then goes on where it was.
# Lines marked EDIT are yours. Needed: raymoe in an environment on a file system that all nodes share (docs/cluster.md).
#SBATCH --job-name=raymoe
#SBATCH --nodes=2                # EDIT
#SBATCH --gpus-per-node=4        # EDIT: leave it out to compute on cores
#SBATCH --cpus-per-task=32       # EDIT: all cores of a node
#SBATCH --time=04:00:00          # EDIT
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=raymoe-%j.log
#SBATCH --signal=B:TERM@120
set -u

source "${RAYMOE_ENV:-$HOME/raymoe-env}/bin/activate"            # EDIT: where raymoe is installed
export RAYMOE_WORKSPACE=${RAYMOE_WORKSPACE:-$SLURM_SUBMIT_DIR/runs}  # EDIT: a folder that all nodes share
export RAYMOE_DATASET=${RAYMOE_DATASET:-demo}                    # EDIT: what is probed without an argument
# A cluster of its own for each job, that nobody else on the nodes can use: the token is made below.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 20000))  # two jobs on one node don't meet
gpus=(${SLURM_GPUS_ON_NODE:+--num-gpus=$SLURM_GPUS_ON_NODE})
on() {  # become a command on one node, with all its cores; for subshells
  local node=$1
  shift
  exec srun --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" --nodelist="$node" --overlap "$@"
}

# Slurm's signal reaches this shell alone, so it is handed on to the driver.
again=no driver=
trap 'again=yes; [ -z "$driver" ] || kill -TERM "$driver" 2>/dev/null' TERM

head=$(on "${nodes[0]}" hostname --ip-address | awk '{print $1}')
export RAY_ADDRESS=$head:$port
on "${nodes[0]}" ray start --head --node-ip-address="$head" --port="$port" --num-cpus="$SLURM_CPUS_PER_TASK" \
  "${gpus[@]}" --temp-dir="${RAY_TMPDIR:-/tmp}/ray-$SLURM_JOB_ID" --include-dashboard=false --block &
steps=($!)
for node in "${nodes[@]:1}"; do
  on "$node" ray start --address="$RAY_ADDRESS" --num-cpus="$SLURM_CPUS_PER_TASK" "${gpus[@]}" --block &
  steps+=($!)
done

# The head must be there before the driver; nodes that come later join while it runs.
for _ in $(seq 60); do
  ray health-check --address "$RAY_ADDRESS" >/dev/null 2>&1 && break
  sleep 2
done

code=143
if [ "$again" = no ]; then
  python -m raymoe probe "${@:-$RAYMOE_DATASET}" &  # the driver, here on the first node
  driver=$!
  wait "$driver"
  code=$?
  while kill -0 "$driver" 2>/dev/null; do  # the signal ended the wait; the driver commits what it has
    wait "$driver"
    code=$?
  done
fi

# The head last, from which the others take leave. A job that is queued again must not meet what is left of this one.
gone() {  # wait until a step has ended, half a minute at most
  for _ in $(seq 150); do
    kill -0 "$1" 2>/dev/null || return
    sleep 0.2
  done
}
kill "${steps[@]:1}" 2>/dev/null
for step in "${steps[@]:1}"; do gone "$step"; done
kill "${steps[0]}" 2>/dev/null
gone "${steps[0]}"
if [ "$again" = yes ] && [ "$code" -ne 0 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
