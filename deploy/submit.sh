#!/bin/bash
# Send one run to the cluster of ray_cluster.yaml and follow it; see deploy/README.md.
#   deploy/submit.sh /mnt/shared/in.mp4 /mnt/shared/out.mp4 [options of `hypercon run`]
# The exit code is the run's. Ctrl-C stops following; the run goes on.
set -euo pipefail
cd "$(dirname "$0")/.."

# The token of `ray get-auth-token --generate`, unless one is given in RAY_AUTH_TOKEN.
export RAY_AUTH_MODE=token
# Where `ray dashboard ray_cluster.yaml`, or `kubectl port-forward`, brings the dashboard.
address=${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}

exec hypercon submit --address "$address" --working-dir . -- run "$@" --engine ray
