// The values under the pointer, read from the table below each chart.
for (const figure of document.querySelectorAll("figure.lines")) {
  const svg = figure.querySelector("svg");
  const line = svg.querySelector(".hover");
  const names = [...figure.querySelectorAll("thead th")].map((cell) => cell.textContent);
  const rows = [...figure.querySelectorAll("tbody tr")].map((row) => ({ row, x: Number(row.dataset.x) }));
  const tip = document.createElement("div");
  tip.className = "tip";
  figure.append(tip);
  const hide = () => figure.classList.remove("pointed");
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const nearest = rows.reduce((best, row) => (Math.abs(row.x - at) < Math.abs(best.x - at) ? row : best));
    line.setAttribute("x1", nearest.x);
    line.setAttribute("x2", nearest.x);
    const cells = [...nearest.row.cells].map((cell) => cell.textContent);
    tip.textContent = cells.map((cell, index) => (index ? `${names[index]}  ${cell}` : cell)).join("\n");
    figure.classList.add("pointed");
    const x = (nearest.x / svg.viewBox.baseVal.width) * box.width + svg.offsetLeft + (box.left - figure.getBoundingClientRect().left);
    const left = x + tip.offsetWidth + 12 > figure.clientWidth ? x - tip.offsetWidth - 10 : x + 10;
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${box.top - figure.getBoundingClientRect().top + 12}px`;
  });
}
