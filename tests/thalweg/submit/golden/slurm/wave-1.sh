#!/bin/bash
#SBATCH --job-name=thalweg-wave-1
#SBATCH --chdir=/shared/rivers
#SBATCH --output=runs/submit/2026-01-01T000000/wave-1.%a.log
#SBATCH --open-mode=append
#SBATCH --array=0-0%2
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=2
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --account=lab
#SBATCH --partition=gpu
export PATH=/shared/rivers/.venv/bin:"$PATH" DVC_NO_ANALYTICS=1
exec /shared/rivers/.venv/bin/python -m thalweg.cli submitted task runs/submit/2026-01-01T000000 1
