#!/bin/bash
# One run on Slurm: a Ray head on the first node, workers on the others, the run beside the head.
#   sbatch --nodes=4 --gpus-per-node=4 deploy/slurm.sh /shared/in.mp4 /shared/out.mp4 [options]
# Submit it from the repository's root, on a file system that every node sees. Sent again with the
# same arguments, after a time limit or a lost node, it goes on where it stopped.
#SBATCH --job-name=hypercon
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=hypercon-%j.log
set -euo pipefail

# The virtual environment of `make install`, or any other whose `python` and `ray` have HyperCon.
PATH="${VENV:-$SLURM_SUBMIT_DIR/.venv}/bin:$PATH"
export PATH PYTHONPATH="$SLURM_SUBMIT_DIR"
export RAY_USAGE_STATS_ENABLED=0

# Known to this job only: it travels in the environment, never on a command line or in a file.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN

# Another job's Ray may run on a shared head node; the job's number keeps the ports apart.
port=$((20000 + SLURM_JOB_ID % 10000))
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head_node=${nodes[0]}
head_ip=$(srun --nodes=1 --ntasks=1 --nodelist="$head_node" hostname --ip-address)
head_ip=${head_ip%% *}
# Ray puts sockets there, whose names must be short.
temp_dir="/tmp/ray-$SLURM_JOB_ID"

ray_pids=()
run_pid=

# `ray start --block` takes its own processes along when it ends; nothing else is touched.
shut_down() {
    for pid in "${ray_pids[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    wait || true
}
trap shut_down EXIT
# Slurm warns two minutes before the end. The run then keeps its segments and ends with 143.
trap '[[ -z $run_pid ]] || kill -TERM "$run_pid"' TERM

# All nodes are taken to be alike. A step gets one core unless it says how many.
gpus=${SLURM_GPUS_ON_NODE:-0}
cpus=$SLURM_CPUS_ON_NODE

srun --nodes=1 --ntasks=1 --nodelist="$head_node" \
    --cpus-per-task="$cpus" --overlap \
    ray start --head --block --node-ip-address="$head_ip" --port="$port" \
    --num-cpus="$cpus" --num-gpus="$gpus" --temp-dir="$temp_dir" --include-dashboard=false &
ray_pids+=($!)

export RAY_ADDRESS="$head_ip:$port"
for _ in {1..60}; do
    ray health-check --address "$RAY_ADDRESS" >/dev/null 2>&1 && break
    kill -0 "${ray_pids[0]}"  # ends the script here if the head could not start
    sleep 2
done

num_workers=$((SLURM_JOB_NUM_NODES - 1))
if ((num_workers > 0)); then
    srun --nodes="$num_workers" --ntasks="$num_workers" --exclude="$head_node" \
        --cpus-per-task="$cpus" --overlap \
        ray start --block --address="$RAY_ADDRESS" --num-cpus="$cpus" --num-gpus="$gpus" &
    ray_pids+=($!)
fi

# A run without MIN:MAX takes what the cluster has when it starts, so all nodes must be there.
python - "$SLURM_JOB_NUM_NODES" <<'PYTHON'
import sys, time, ray

wanted, until = int(sys.argv[1]), time.monotonic() + 300
while time.monotonic() < until:
    try:
        ray.init(address="auto", configure_logging=False, log_to_driver=False)
        if sum(node["Alive"] for node in ray.nodes()) >= wanted:
            sys.exit(0)
    except (ConnectionError, RuntimeError):
        pass
    ray.shutdown()
    time.sleep(2)
sys.exit(f"{wanted} nodes must join the Ray cluster within 300 s")
PYTHON

python -m pipeline.cli run "$@" --engine ray &
run_pid=$!
# A signal interrupts `wait`; the second one waits for what the run does about it.
status=0
wait "$run_pid" || status=$?
if kill -0 "$run_pid" 2>/dev/null; then
    status=0
    wait "$run_pid" || status=$?
fi
exit "$status"
