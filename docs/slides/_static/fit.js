/* What does not fit its slide is set smaller: a formula that is too wide, a slide that is too tall. */
addEventListener("load", () => {
  const fit = () => {
    const slide = Reveal.getCurrentSlide();
    for (const formula of slide.querySelectorAll('mjx-container[display="true"]')) {
      const size = formula.querySelector("mjx-math")?.offsetWidth ?? 0;
      const now = parseFloat(formula.style.fontSize) || 100;  // per cent, as MathJax has set it
      if (size > slide.clientWidth) formula.style.fontSize = `${(0.97 * now * slide.clientWidth) / size}%`;
    }
    for (let size = 95; size >= 70 && slide.scrollHeight > 720; size -= 5) slide.style.fontSize = `${size}%`;
  };
  Reveal.on("slidechanged", fit);
  window.MathJax?.startup?.promise?.then(fit) ?? fit();
});
