/* A block of code that is wider than the page can be scrolled by keyboard, too. */
document.addEventListener("DOMContentLoaded", () => {
  for (const block of document.querySelectorAll("pre, .table-wrapper, .output")) {
    if (block.scrollWidth > block.clientWidth) block.tabIndex = 0;
  }
});

/* A formula within a line that is wider than the line scrolls by itself. */
addEventListener("load", () => window.MathJax?.startup?.promise?.then(() => {
  for (const formula of document.querySelectorAll('article mjx-container:not([display="true"])')) {
    const line = formula.closest("p, li, dd");
    if (line && formula.getBoundingClientRect().width > line.clientWidth) formula.classList.add("wide");
  }
}));
