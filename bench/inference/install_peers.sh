#!/bin/sh
# Sets up the servers that ours is measured beside, each in a virtual environment of its own, from PyPI.
# Usage: bench/inference/install_peers.sh [FOLDER] [NAME...]; then python -m bench.inference --peers-dir FOLDER.
# On Linux they need an extra of MLX: MLX_EXTRA=cpu (the default there), cuda12 or cuda13.
set -eu

folder=${1:-var/bench/peers}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- mlx_lm.server vllm-mlx mlx-openai-server

case $(uname -s) in
Linux) mlx="mlx[${MLX_EXTRA:-cpu}]" ;;
*) mlx=mlx ;;
esac

for name in "$@"; do
    case $name in
    mlx_lm.server) packages="mlx-lm==0.32.2" ;;
    vllm-mlx) packages="vllm-mlx==0.6.0" ;;
    mlx-openai-server) packages="mlx-openai-server==1.8.1" ;;
    *) echo "There is no server called $name here." >&2; exit 2 ;;
    esac
    "${PYTHON:-python3}" -m venv "$folder/$name"
    # A server that cannot be installed here is left out of the measurements, and the others are not.
    # shellcheck disable=SC2086
    "$folder/$name/bin/pip" install --quiet "$mlx" $packages ||
        { echo "$name could not be installed." >&2; rm -rf "${folder:?}/$name"; }
done
