//! How long the CPUs have worked for the programs that this one started and waited for.

use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;

/// Where Linux tells it, in ticks of the [clock](clock_ticks_per_second).
const FILE: &str = "/proc/self/stat";

/// Returns the CPU time of all children so far, that of the kernel on their behalf included; `None` if this system does
/// not tell.
pub fn of_children() -> Option<Duration> {
    let ticks = ticks_of_children(&fs::read_to_string(FILE).ok()?)?;
    Some(Duration::from_millis(ticks * 1000 / clock_ticks_per_second()))
}

/// Reads `cutime` and `cstime`, as proc_pid_stat(5) calls them, out of the line.
fn ticks_of_children(line: &str) -> Option<u64> {
    // The name of the program, in parentheses, may have any of these and spaces in it.
    let (_, behind) = line.rsplit_once(')')?;
    let mut fields = behind.split_whitespace().skip(13);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(ticks()? + ticks()?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;

    use super::*;

    /// Seen failing: with the first parenthesis in the place of the last; with the two fields before.
    #[test]
    fn the_fields_are_found_behind_any_name() {
        let line = "77 (a) (b 1 2) S 1 77 77 0 -1 4194304 5 6 7 8 9 10 1100 34 20 0 1 0 99";
        assert_eq!(ticks_of_children(line), Some(1134));
        for line in ["", "77 (a) S 1 2 3", "77 a S 1", "77 (a) S 1 77 77 0 -1 4194304 5 6 7 8 9 10 x 34"] {
            assert_eq!(ticks_of_children(line), None, "{line}");
        }
    }

    #[test]
    fn a_child_that_works_is_counted_when_it_has_ended() {
        let before = of_children().expect("Linux tells it");
        let mut child =
            Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("there is a shell");
        thread::sleep(Duration::from_millis(300));
        child.kill().expect("it runs");
        child.wait().expect("it is a child");
        let worked = of_children().expect("as before") - before;
        // Other tests have children, too.
        assert!(!worked.is_zero() && worked < Duration::from_secs(600), "{worked:?}");
    }
}
