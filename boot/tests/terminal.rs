//! The console in a real terminal, tmux's: what the keys do, and that the screen shows just that. Left out where there is no
//! tmux.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use boot::suites::host_program::leave_out;
use tempfile::TempDir;

/// What takes longer than this does not happen.
const FAR: Duration = Duration::from_secs(600);

/// A terminal of 80 columns, with a shell command in it.
struct Terminal {
    /// Where its server listens.
    folder: TempDir,
}

impl Terminal {
    fn start(command: &str) -> Self {
        let terminal = Self { folder: tempfile::tempdir().unwrap() };
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "40", command]);
        terminal
    }

    fn tmux(&self, words: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-u", "-L", "console"]).args(words).env("TMUX_TMPDIR", self.folder.path());
        let output = command.env_remove("TMUX").stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types text.
    fn types(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
    }

    /// Presses keys by tmux's names.
    fn presses(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// The lines on the screen, down to the last one with anything in it.
    fn screen(&self) -> Vec<String> {
        let text = self.tmux(&["capture-pane", "-p"]);
        text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    }

    fn waits(&self, what: &str, is_there: impl Fn(&[String]) -> bool) {
        let start = Instant::now();
        while !is_there(&self.screen()) {
            assert!(start.elapsed() < FAR, "{what} is never seen:\n{}", self.screen().join("\n"));
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the line with the cursor is this, and the cursor in that column.
    #[track_caller]
    fn shows(&self, line: &str, column: usize) {
        self.waits(&format!("{line:?} with the cursor at {column}"), |lines| {
            lines.last().is_some_and(|last| last == line) && self.column() == column
        });
    }

    fn column(&self) -> usize {
        self.tmux(&["display-message", "-p", "#{cursor_x}"]).trim().parse().unwrap()
    }

    /// Runs a command, and gives the lines that it printed.
    fn runs(&self, command: &str) -> Vec<String> {
        self.presses(&["C-u", "C-l"]);
        self.waits("an empty screen", |lines| *lines == [">"]);
        self.types(command);
        self.presses(&["Enter"]);
        self.waits("the next prompt", |lines| {
            lines.len() > 1 && lines.last().is_some_and(|line| line == ">")
        });
        let mut lines = self.screen();
        assert_eq!(lines.remove(0), format!("> {command}"));
        lines.pop();
        lines
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        command.args(["-L", "console", "kill-server"]).env("TMUX_TMPDIR", self.folder.path());
        let _ = command.env_remove("TMUX").stdin(Stdio::null()).output();
    }
}

/// Seen failing: with Home that is not known as tmux sends it.
#[test]
fn keys_do_on_the_screen_what_they_say() {
    if Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_err() {
        leave_out("there is no tmux");
        return;
    }
    let boot = env!("CARGO_BIN_EXE_boot");
    let terminal =
        Terminal::start(&format!("'{boot}' --accel tcg --cpus 1; echo it ended with $?; exec sleep 600"));
    terminal.waits("the prompt", |lines| lines.last().is_some_and(|line| line == ">"));

    // Completion, of a command and of what stands behind it.
    terminal.types("vmalloci");
    terminal.presses(&["Tab"]);
    terminal.shows("> vmallocinfo", 14);
    terminal.types("to");
    terminal.presses(&["Tab"]);
    terminal.shows("> vmallocinfo totals", 21);
    terminal.presses(&["C-u"]);
    terminal.shows(">", 2);

    // The ends of the line, and a change in its middle.
    terminal.types("elp rim");
    terminal.presses(&["Home"]);
    terminal.types("h");
    terminal.presses(&["C-Right", "C-Right", "C-b", "C-b", "C-b"]);
    terminal.types("t");
    terminal.shows("> help trim", 8);
    terminal.presses(&["End"]);
    terminal.shows("> help trim", 11);
    terminal.presses(&["C-a", "DC"]);
    terminal.shows("> elp trim", 2);
    terminal.types("h");
    terminal.presses(&["C-e", "BSpace"]);
    terminal.shows("> help tri", 10);
    assert!(terminal.runs("help trim").iter().any(|line| line.contains("gives back what is cached")));

    // History: a short line in the place of a long one, and back to what was typed.
    let told = terminal.runs("sysctl | grep lazy_max");
    let names: Vec<_> = told.iter().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    // The second says in its description of how many.
    assert_eq!(names, ["vmalloc.lazy_max_pages", "vmalloc.purge_priority"], "{told:?}");
    terminal.runs("cpus");
    terminal.types("half");
    terminal.presses(&["Up", "Up"]);
    terminal.shows("> sysctl | grep lazy_max", 24);
    terminal.presses(&["Up"]);
    terminal.shows("> help trim", 11);
    terminal.presses(&["Down", "Down"]);
    terminal.shows("> cpus", 6);
    terminal.presses(&["Down"]);
    terminal.shows("> half", 6);

    // A wrong word, and what was meant.
    let told = terminal.runs("memimfo");
    assert!(told.iter().any(|line| line.contains("did you mean meminfo?")), "{told:?}");

    // What the host program adds begins in the first column, too.
    let told = terminal.runs("perf floor loops=20000000");
    assert!(told.iter().any(|line| line.starts_with("  share  function")), "{told:?}");

    terminal.presses(&["C-]"]);
    terminal.waits("the end", |lines| lines.last().is_some_and(|line| line == "it ended with 0"));
}
