#!/bin/bash
#SBATCH --job-name=thalweg-prepare
#SBATCH --chdir=/shared/rivers
#SBATCH --output=runs/submit/2026-01-01T000000/prepare.log
#SBATCH --open-mode=append
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --account=lab
#SBATCH --partition=gpu
export PATH=/shared/rivers/.venv/bin:"$PATH" DVC_NO_ANALYTICS=1
exec /shared/rivers/.venv/bin/python -m dvc repro fetch preprocess@s2_60m split
