"""Executes docs/cookbook.ipynb in the project's root and keeps its outputs: `python docs/hooks/execute.py [ROOT]`."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "cookbook.ipynb"


def execute(root: Path) -> nbformat.NotebookNode:
    """The notebook as it is after all cells ran; a cell that fails raises."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(root)}}).execute()
    for cell in notebook.cells:
        cell.get("metadata", {}).pop("execution", None)  # times differ from run to run
    return notebook


if __name__ == "__main__":
    nbformat.write(execute(Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd()), NOTEBOOK)
