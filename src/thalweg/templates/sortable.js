// Tables of class "sortable": a column's head sorts by it, numbers by their data-value, what has none last.
(() => {
  "use strict";
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value !== undefined ? Number(cell.dataset.value) : cell.classList.contains("n") ? parseFloat(cell.textContent) : cell.textContent.trim();
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const first = head.classList.contains("n") ? "descending" : "ascending";
        const order = head.getAttribute("aria-sort") === first ? (first === "ascending" ? "descending" : "ascending") : first;
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1, column = head.cellIndex;
        const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
        const unknown = (each) => typeof each === "number" && Number.isNaN(each);
        rows.sort(([a], [b]) => unknown(a) || unknown(b) ? unknown(a) - unknown(b) : sign * (typeof a === "number" ? a - b : a.localeCompare(b)));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    }
  }
})();
