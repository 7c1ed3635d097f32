/* A block of code that is wider than the page can be scrolled by keyboard, too. */
document.addEventListener("DOMContentLoaded", () => {
  for (const block of document.querySelectorAll("pre, .table-wrapper, .output")) {
    if (block.scrollWidth > block.clientWidth) block.tabIndex = 0;
  }
});
