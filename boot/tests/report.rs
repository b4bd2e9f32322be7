//! The page of `report`, in a real browser where there is one: no error, every mark, and nothing that lies on something
//! else, in a wide window and in a narrow one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use boot::places;
use boot::report::{data::Data, page};
use boot::suites::host_program::leave_out;

/// Names of the browser.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Without a screen, and without the network.
const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--enable-logging=stderr",
];

/// Two windows with the page in each, which are looked at once both are there. The page itself has no script.
const LOOKER: &str = include_str!("report/looker.html");

/// What is kept with the sources, drawn.
fn page() -> String {
    let folder = places::root().join("bench/results");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    // The oldest has all parts; those of later files count.
    files.sort_by_key(|file| !file.ends_with("tcg-2-cores.json"));
    page::html(&Data::read(&files).unwrap())
}

/// The page in a browser: what it made of the page, and what it said.
fn browse(browser: &Path, folder: &Path, page: &Path, more: &[&str]) -> (String, String) {
    let mut command = Command::new(browser);
    command.args(FLAGS).args(more).arg(format!("--user-data-dir={}", folder.join("profile").display()));
    let output = command.arg(format!("file://{}", page.display())).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    (String::from_utf8_lossy(&output.stdout).into_owned(), said)
}

fn browser() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let programs = BROWSERS.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    programs.into_iter().find(|program| program.is_file())
}

/// The parts of the page between two words.
fn between<'a>(text: &'a str, from: &'a str, to: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(from).skip(1).map(move |rest| rest.split(to).next().unwrap_or_default())
}

/// How many marks a drawing has: dots and bars in a colour of their own.
fn marks(drawing: &str) -> usize {
    let colours = ["#0072B2", "#D55E00", "#808080", "#009E73", "#CC79A7"];
    let shapes = ["<circle", "<rect"].into_iter().flat_map(|shape| between(drawing, shape, ">"));
    shapes.filter(|shape| colours.iter().any(|colour| shape.contains(colour))).count()
}

/// Each figure has a mark for each number of its table that is said to be drawn.
fn check_marks(page: &str) -> usize {
    let mut figures = 0;
    for figure in between(page, "<figure id=", "</figure>") {
        let id = figure.split('"').nth(1).unwrap();
        let numbers = figure.matches("<td class=\"drawn\"").count();
        let [wide, narrow] = ["wide", "narrow"].map(|size| {
            between(figure, &format!("<div class=\"{size}\""), "</div>").next().unwrap().to_owned()
        });
        for drawing in [&wide, &narrow] {
            match id {
                // A line of samples for each rule.
                "purge-latency" => assert!(drawing.matches("<polyline").count() > 3, "{id}"),
                // A shape for each state of each block.
                "address-map" => assert!(drawing.matches("<polygon").count() > 60, "{id}"),
                // A bar wherever a CPU purged or flushed.
                "purge-timeline" => assert!(marks(drawing) > 40, "{id}: {}", marks(drawing)),
                _ => assert_eq!(marks(drawing), numbers, "{id}"),
            }
            let counts_all = !matches!(id, "purge-latency" | "address-map" | "purge-timeline");
            assert!(!counts_all || numbers > 1, "{id} has {numbers} numbers");
        }
        figures += 1;
    }
    figures
}

/// Seen failing with a dot of each row left out, with a script, and with a style sheet from a server.
#[test]
fn every_number_has_its_mark_and_nothing_comes_from_elsewhere() {
    let page = page();
    assert!(check_marks(&page) >= 14);
    for outside in ["http://www.w3.org/2000/svg", "https://", "http://", "<script", "@import", "url("] {
        let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        assert!(!page.contains(outside), "{outside}");
    }
}

/// Seen failing with a mark left out, with names at the ends of lines on each other, with a name that was cut off, with a
/// table that made the narrow page too wide, and with a script that throws.
#[test]
fn a_browser_shows_the_page() {
    let Some(browser) = browser() else {
        let names = BROWSERS.join(", ");
        leave_out(&format!("there is no browser to look at the page of report: none of {names}"));
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let page = page();
    let file = folder.path().join("report.html");
    fs::write(&file, &page).unwrap();

    let (seen, said) = browse(&browser, folder.path(), &file, &["--dump-dom"]);
    let complaints: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert_eq!(check_marks(&seen), check_marks(&page));

    let looker = folder.path().join("looker.html");
    let quoted = page.replace('&', "&amp;").replace('"', "&quot;");
    fs::write(&looker, LOOKER.replace("PAGE", &quoted)).unwrap();
    let (seen, said) = browse(&browser, folder.path(), &looker, &["--dump-dom", "--window-size=1400,900"]);
    let found = between(&seen, "<pre>", "</pre>").next().unwrap_or_default();
    let found: serde_json::Value = serde_json::from_str(found).unwrap_or_else(|_| panic!("{said}"));
    for (window, width) in [(&found[0], 1280), (&found[1], 400)] {
        assert_eq!(window["width"], width, "{window:#}");
        assert_eq!(window["content"], width, "wider than its window: {window:#}");
        assert!(window["texts"].as_u64().is_some_and(|texts| texts > 150), "{window:#}");
        assert_eq!(window["overlaps"], serde_json::json!([]), "texts on each other");
        assert_eq!(window["outside"], serde_json::json!([]), "texts that are cut off");
    }
}
