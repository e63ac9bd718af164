"use strict";
// Sorting and filtering of tables; without it every row is there, in execution order.

const value = (row, column) => {
  const cell = row.cells[column];
  const number = Number.parseFloat((cell.dataset.value ?? cell.textContent).replace("inf", "Infinity"));
  return cell.classList.contains("n") ? (Number.isNaN(number) ? -Infinity : number) : cell.textContent.trim();
};

const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));

const sort = (table, header, column) => {
  const direction = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
  rows.sort(([a], [b]) => sign * compare(a, b) || 0);
  table.tBodies[0].append(...rows.map(([, row]) => row));
};

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(table, header, column));
    header.append(button);
  });
}

for (const input of document.querySelectorAll("input[data-filter]")) {
  const controls = input.closest(".controls");
  const rows = [...document.getElementById(input.dataset.filter).tBodies[0].rows];
  const count = controls.querySelector("output");
  const boxes = [...controls.querySelectorAll("input[data-status]")];
  const update = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const statuses = new Set(boxes.filter((box) => box.checked).map((box) => box.dataset.status));
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !statuses.has(row.dataset.status) || !words.every((word) => text.includes(word));
    }
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} operations`;
  };
  controls.addEventListener("input", update);
  controls.hidden = false;
  update();
}
