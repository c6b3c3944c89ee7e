#!/bin/bash
#SBATCH --job-name=thalweg-merge
#SBATCH --chdir=/shared/rivers
#SBATCH --output=runs/submit/2026-01-01T000000/merge.log
#SBATCH --open-mode=append
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=2:00:00
#SBATCH --requeue
#SBATCH --account=lab
#SBATCH --partition=gpu
export PATH=/shared/rivers/.venv/bin:"$PATH" DVC_NO_ANALYTICS=1
exec /shared/rivers/.venv/bin/python -m thalweg.cli submitted merge runs/submit/2026-01-01T000000 1-3,7 -- --bands=B02=1,B03=2 --offset=-1000.0 '--out=maps of May/it'"'"'s' --splits=8 -- models/unet 'a b.tif' '$HOME/*.SAFE' '$(HOSTNAME)$$'
