"use strict";
// plotly.js travels inside the page, compressed; nothing is fetched.
(async () => {
  const inflate = async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };
  const places = [...document.querySelectorAll(".chart")];
  try {
    const library = document.createElement("script");
    library.textContent = await inflate(document.getElementById("plotly").textContent.trim());
    document.head.append(library);
    const charts = JSON.parse(document.getElementById("charts").textContent);
    const narrow = matchMedia("(max-width: 760px)");
    const draw = (place, name) => {
      const { data, layout } = structuredClone(charts[name]);
      if (narrow.matches) {
        layout.margin = { ...layout.margin, l: 40, r: 4 };
        layout.font.size = 11;
        layout.dragmode = false;
      }
      const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
      return Plotly.react(place, data, layout, { ...options, displayModeBar: narrow.matches ? false : "hover" });
    };
    for (const button of document.querySelectorAll(".choice button")) {
      button.addEventListener("click", () => {
        for (const other of button.parentElement.children) other.setAttribute("aria-pressed", other === button);
        draw(document.getElementById(button.dataset.place), button.dataset.chart);
      });
    }
    for (const place of places) await draw(place, place.dataset.chart);
  } catch (error) {
    for (const place of places) {
      if (!place.firstChild) place.textContent = "This chart needs a browser of 2023 or later.";
    }
    throw error;
  } finally {
    document.documentElement.dataset.drawn = "yes";
  }
})();
