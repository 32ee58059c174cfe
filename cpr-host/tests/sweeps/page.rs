//! The report's page in a browser: every plot is drawn, nothing sticks out, no request leaves the page.
//!
//! Headless Chromium opens a copy of the page with a script that measures what was drawn and writes it into the page,
//! in frames of 1280 and of 390 pixels. Without Chromium it is skipped with a message; `CPR_CHROMIUM` names another binary.

use super::*;

/// Measures every plot: size, marks inside it, texts on top of each other; and what the page loaded.
const PROBE: &str = r#"<script>
const report = {plots: 0, undrawn: [], overlaps: [], outside: [], tiny: [], loaded: [], wide: 0};
for (const figure of document.querySelectorAll('figure')) {
  const name = figure.id, svg = figure.querySelector('svg'), box = svg.getBoundingClientRect();
  report.plots += 1;
  const marks = [...svg.querySelectorAll('path[stroke-width="1.80"],circle,rect,path[stroke-width="2.50"]')];
  const drawn = marks.filter(mark => { const at = mark.getBoundingClientRect(); return at.width + at.height > 0; });
  if (box.width < 200 || box.height < 60 || drawn.length === 0) report.undrawn.push(name);
  const texts = [...svg.querySelectorAll('text')].filter(text => text.textContent.trim());
  const boxes = texts.map(text => text.getBoundingClientRect());
  texts.forEach((text, i) => {
    const a = boxes[i];
    if (a.left < box.left - 1 || a.right > box.right + 1 || a.top < box.top - 1 || a.bottom > box.bottom + 1)
      report.outside.push(name + ': ' + text.textContent);
    if (parseFloat(text.getAttribute('font-size')) * box.width / svg.viewBox.baseVal.width < 9)
      report.tiny.push(name + ': ' + text.textContent);
    for (let j = 0; j < i; j++) {
      const b = boxes[j];
      if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1.5 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4)
        report.overlaps.push(name + ': ' + text.textContent + ' / ' + texts[j].textContent);
    }
  });
}
report.loaded = performance.getEntriesByType('resource').map(entry => entry.name);
report.wide = document.documentElement.scrollWidth - innerWidth;
report.width = innerWidth;
parent.postMessage(JSON.stringify(report), '*');
</script>"#;

/// A frame of the width of a window: Chromium makes no window narrower than 500 pixels.
const FRAME: &str = r#"<!doctype html><body><script>
onmessage = event => {
  const pre = document.createElement('pre');
  pre.id = 'verdict';
  pre.textContent = event.data;
  document.body.append(pre);
};
</script><iframe src="probed.html" style="border:0;width:WIDTHpx;height:900px"></iframe></body>"#;

fn chromium() -> Option<PathBuf> {
    if let Ok(path) = std::env::var("CPR_CHROMIUM") {
        return Some(PathBuf::from(path));
    }
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
}

#[test]
fn every_plot_is_drawn_and_no_request_leaves_the_page() {
    let Some(chromium) = chromium() else {
        eprintln!(
            "SKIPPED: the report in a browser (no Chromium here; `apt-get install chromium`)"
        );
        return;
    };
    // A grid for a heat map, a sweep of mu, bounds that are set on the way.
    let place = Place::with(&format!(
        "{STUDY}\n[[group]]\nname = \"grid\"\ngrid = {{ lr = [0.001, 0.01], kappa_init = [\"dependent=0.8\", \"dependent=1\"], mu = [0.5, 1.0] }}\nseeds = 2\n\
         [[group]]\nname = \"sparse\"\nset = {{ reg = \"l1\", kappa_init = \"dependent=0.2\", step_rule = \"proximal\", order = \"before-base\" }}\n"
    ));
    place.cpr("sweep study.toml");
    let said = place.cpr("report study");
    let page = place.read("study/report/report.html");
    for section in [
        "overview",
        "heat",
        "sensitivity",
        "curves",
        "constraints",
        "kappa",
        "sparsity",
        "overhead",
    ] {
        assert!(page.contains(&format!("<section id=\"{section}\">")), "{section}");
    }
    let policy = page.lines().find(|line| line.contains("Content-Security-Policy")).unwrap();
    let probed = page.replace(policy, "").replace("</body>", &format!("{PROBE}</body>"));
    fs::write(place.path("probed.html"), probed).unwrap();
    for width in [1280, 390] {
        let verdict = probe(&chromium, &place, width);
        let list = |key: &str| verdict[key].as_array().unwrap().clone();
        assert_eq!(
            verdict["plots"].as_u64(),
            Some(page.matches("<figure ").count() as u64),
            "{said}"
        );
        assert_eq!(verdict["width"].as_u64(), Some(width), "the frame has another width");
        for key in ["undrawn", "outside", "overlaps", "tiny", "loaded"] {
            assert!(list(key).is_empty(), "{width} px: {key}: {:#?}", list(key));
        }
        assert!(
            verdict["wide"].as_i64().unwrap() <= 0,
            "{width} px: the page scrolls sideways: {verdict}"
        );
    }
}

fn probe(chromium: &Path, place: &Place, width: u64) -> serde_json::Value {
    fs::write(place.path("frame.html"), FRAME.replace("WIDTH", &width.to_string())).unwrap();
    let output = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--dump-dom",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--disable-background-networking",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND",
        ])
        .arg(format!("--user-data-dir={}", place.path("browser").display()))
        .args(["--window-size=1400,1000", "--virtual-time-budget=10000"])
        .arg(format!("file://{}", place.path("frame.html").display()))
        .env("HOME", place.root.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let dom = String::from_utf8(output.stdout).unwrap();
    let verdict =
        dom.split("<pre id=\"verdict\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let verdict =
        verdict.unwrap_or_else(|| panic!("{}\n{dom}", String::from_utf8_lossy(&output.stderr)));
    let text = verdict.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    serde_json::from_str(&text).unwrap()
}
