//! What the judge makes of good, bad and impossible machines.

use super::*;

const SUCCESS: How = How::Exited(Exit::Success.qemu_status());
const FAILURE: How = How::Exited(Exit::Failure.qemu_status());
const PANIC: How = How::Exited(Exit::Panic.qemu_status());
const UNFIT: How = How::Exited(Exit::Unfit.qemu_status());
const RESET: How = How::Exited(0);
/// Commands, however many were run.
const COMMANDS: Purpose = Purpose::Commands { count: 0 };
const TESTS: Purpose = Purpose::Tests { filtered: true };

/// Judges lines as they come over the serial line; those that start with `!` are records.
fn judge(purpose: Purpose, lines: &[&str], how: How) -> Verdict {
    let mut judge = Judge::new(purpose);
    for line in lines {
        match line.strip_prefix('!') {
            Some(record) => match Record::parse(&format!("\u{1e}{record}")) {
                Some(record) => judge.record(record),
                None => judge.garbled(record),
            },
            None => judge.line(line),
        }
    }
    judge.verdict(how)
}

/// The status, and the complaints on one line.
fn commands(lines: &[&str], how: How) -> (Status, String) {
    let verdict = judge(COMMANDS, lines, how);
    (verdict.status, verdict.complaints.join("; "))
}

/// The status, and the counts.
fn tests(lines: &[&str], how: How) -> (Status, usize, usize) {
    let verdict = judge(TESTS, lines, how);
    assert_eq!(verdict.status == Status::Ok, verdict.complaints.is_empty(), "{verdict:?}");
    (verdict.status, verdict.passed, verdict.failed)
}

#[test]
fn commands_that_succeed() {
    assert_eq!(commands(&["!console", "help", "!commands-done 0"], SUCCESS), (Status::Ok, String::new()));
}

#[test]
fn a_failed_command_is_said_by_the_kernel_itself() {
    assert_eq!(commands(&["!console", "!commands-done 2"], FAILURE), (Status::Failed, String::new()));
}

/// Seen failing with those counted only where the kernel says that all succeeded.
#[test]
fn commands_that_are_left_out_are_told_of_when_others_failed_too() {
    for (closing, how) in [("!commands-done 0", SUCCESS), ("!commands-done 1", FAILURE)] {
        let lines = ["!console", "!command hold 3", closing];
        let whole = judge(Purpose::Commands { count: 1 }, &lines, how);
        assert!(whole.complaints.is_empty(), "{whole:?}");
        let short = judge(Purpose::Commands { count: 2 }, &lines, how);
        assert_eq!(short.complaints, ["the kernel ran 1 of 2 commands"]);
    }
}

/// Seen failing with every failure of QEMU one of the run.
#[test]
fn a_machine_that_qemu_cannot_start_is_what_the_computer_lacks() {
    let (status, complaint) = commands(&[], How::Exited(1));
    assert_eq!((status, complaint.contains("could not start")), (Status::Unfit, true), "{complaint}");
    for lines in [&["firmware"][..], &["!console"], &["!tests 3"]] {
        assert_eq!(commands(lines, How::Exited(1)).0, Status::Failed, "{lines:?}");
    }
}

/// Seen failing with the first a time-out, and the second a reset without a word.
#[test]
fn a_machine_without_an_exit_device_is_told_from_one_that_hangs() {
    for (how, expected) in [(How::NotEnded, Status::Unfit), (RESET, Status::Crashed)] {
        let (status, complaint) = commands(&["!console", "!commands-done 0"], how);
        assert_eq!((status, complaint.contains("isa-debug-exit")), (expected, true), "{complaint}");
        assert_eq!(tests(&["!tests 1", "!test a", "!passed", "!tests-done 1"], how), (expected, 1, 1));
    }
    assert_eq!(commands(&["!console", "!panic"], How::NotEnded).0, Status::Crashed);
}

/// Seen failing with each a reset without a word.
#[test]
fn a_machine_that_is_switched_off_has_ended_as_its_kernel_said() {
    assert_eq!(commands(&["!console", "!commands-done 0", "!power-off 33"], RESET).0, Status::Ok);
    assert_eq!(commands(&["!console", "!commands-done 1", "!power-off 35"], RESET).0, Status::Failed);
    assert_eq!(
        tests(&["!tests 1", "!test a", "!passed", "!tests-done 1", "!power-off 33"], RESET).0,
        Status::Ok
    );
    for wrong in [
        &["!console", "!power-off 33"][..],
        &["!console", "!commands-done 1", "!power-off 33"],
        &["!console", "!power-off 33", "!commands-done 0"],
        &["!console", "!commands-done 0", "!panic", "!power-off 33"],
    ] {
        assert_ne!(commands(wrong, RESET).0, Status::Ok, "{wrong:?}");
    }
}

#[test]
fn an_exit_status_that_disagrees_with_the_records_is_no_success() {
    for (lines, how) in [
        (&["!console", "!commands-done 1"], SUCCESS),
        (&["!console", "!commands-done 0"], FAILURE),
        (&["!console", "!panic"], FAILURE),
    ] {
        let (status, complaint) = commands(lines, how);
        assert_ne!(status, Status::Ok);
        assert!(!complaint.is_empty());
    }
    assert_eq!(commands(&["!console", "!panic", "!commands-done 0"], SUCCESS).0, Status::Crashed);
}

#[test]
fn a_missing_closing_record_is_no_success() {
    assert_eq!(commands(&["!console", "text"], SUCCESS).0, Status::Failed);
    assert_eq!(commands(&["!commands-done 0"], SUCCESS).0, Status::Failed);
    assert_eq!(commands(&[], SUCCESS).0, Status::Failed);
    assert_eq!(commands(&["!console"], FAILURE).0, Status::Failed);
}

#[test]
fn what_was_said_before_the_console_was_ready_is_repeated() {
    let (status, complaint) = commands(&["parameter foo: unknown"], FAILURE);
    assert_eq!(status, Status::Failed);
    assert!(complaint.ends_with("parameter foo: unknown"), "{complaint}");
}

#[test]
fn a_triple_fault_is_a_crash() {
    let (status, complaint) = commands(&["!console"], RESET);
    assert_eq!((status, complaint.contains("without a word")), (Status::Crashed, true), "{complaint}");
    let (status, complaint) = commands(&["firmware"], RESET);
    assert_eq!(
        (status, complaint.contains("before its kernel was ready")),
        (Status::Crashed, true),
        "{complaint}"
    );
    assert_eq!(commands(&["!console", "!commands-done 0"], RESET).0, Status::Crashed);
    assert_eq!(judge(Purpose::Console, &["!console"], RESET).status, Status::Crashed);
    assert_eq!(tests(&["!tests 2", "!test a", "!passed", "!test b"], RESET), (Status::Crashed, 1, 1));
}

#[test]
fn a_hang_is_a_time_out_whatever_was_said_before() {
    for lines in [&[][..], &["!console"], &["!console", "!commands-done 0"], &["!console", "!panic"]] {
        assert_eq!(commands(lines, How::TimedOut).0, Status::TimedOut, "{lines:?}");
    }
    let verdict = judge(TESTS, &["!tests 3", "!test a", "!passed", "!test b"], How::TimedOut);
    assert_eq!((verdict.status, verdict.passed, verdict.failed), (Status::TimedOut, 1, 2));
    assert!(verdict.complaints[0].contains("test b"));
}

#[test]
fn a_panic_is_a_crash() {
    let (status, complaint) = commands(&["!console", "!panic", "report"], PANIC);
    assert_eq!((status, complaint.as_str()), (Status::Crashed, "the kernel panicked"));
    assert_eq!(commands(&[], PANIC), (Status::Crashed, "the kernel panicked".into()));
    assert_eq!(judge(Purpose::Console, &["!console", "!panic"], PANIC).status, Status::Crashed);
    assert_eq!(commands(&["!console", "!panic"], RESET).0, Status::Crashed);
}

#[test]
fn an_unfit_machine_has_its_own_status() {
    let (status, complaint) = commands(&["loading", "too little memory", ""], UNFIT);
    assert_eq!((status, complaint.as_str()), (Status::Unfit, "the machine is unfit: too little memory"));
    assert_eq!(tests(&[], UNFIT), (Status::Unfit, 0, 1));
}

#[test]
fn qemus_own_failures_are_no_success() {
    for how in [How::Exited(1), How::Exited(2), How::Exited(255), How::Signalled(6)] {
        assert_eq!(commands(&["!console", "!commands-done 0"], how).0, Status::Failed, "{how:?}");
        assert_eq!(tests(&["!tests 1", "!test a", "!passed", "!tests-done 1"], how), (Status::Failed, 1, 1));
    }
}

#[test]
fn tests_that_pass() {
    let lines = ["!tests 2", "!test a", "test a ... ok", "!passed", "!test b", "!passed", "!tests-done 2"];
    assert_eq!(tests(&lines, SUCCESS), (Status::Ok, 2, 0));
}

/// Seen failing, for the kernel without a filter, without that look.
#[test]
fn a_kernel_may_have_no_tests_if_a_filter_keeps_them_out_and_only_then() {
    let lines = ["!tests 0", "!tests-done 0"];
    assert_eq!(tests(&lines, SUCCESS), (Status::Ok, 0, 0));
    let verdict = judge(Purpose::Tests { filtered: false }, &lines, SUCCESS);
    assert_eq!((verdict.status, verdict.failed), (Status::Failed, 1));
    assert_eq!(verdict.complaints, ["the kernel has no tests"]);
}

/// Seen failing, each with its look taken out.
#[test]
fn what_is_said_twice_is_no_success() {
    for lines in [
        &["!tests 1", "!tests 1", "!test a", "!passed", "!tests-done 1"][..],
        &["!tests 1", "!test a", "!passed", "!tests-done 1", "!tests-done 1"],
        // One is run in the place of another.
        &["!tests 2", "!test a", "!passed", "!test a", "!passed", "!tests-done 2"],
    ] {
        assert_eq!(tests(lines, SUCCESS).0, Status::Failed, "{lines:?}");
    }
    for lines in [
        &["!console", "!commands-done 0", "!commands-done 0"][..],
        // The machine was reset, and QEMU let it begin again.
        &["!console", "!command a", "!console", "!command a", "!commands-done 0"],
    ] {
        assert_eq!(commands(lines, SUCCESS).0, Status::Failed, "{lines:?}");
    }
    let guard = ["!tests 1", "!test guard", "!expect-panic x"];
    assert_eq!(tests(&[&guard[..], &["!panic", "x"]].concat(), PANIC).0, Status::Ok);
    for more in [&["!expect-panic y", "!panic", "y"][..], &["!panic", "x", "!panic", "another"]] {
        assert_eq!(tests(&[&guard[..], more].concat(), PANIC).0, Status::Failed, "{more:?}");
    }
}

/// Seen failing, each with its look taken out.
#[test]
fn what_comes_too_early_or_too_late_is_no_success() {
    for lines in [
        // A closing record that somebody forged, and after it what it had promised.
        &["!tests 2", "!test a", "!passed", "!tests-done 2", "!test b", "!passed"][..],
        &["!test a", "!passed", "!tests 1", "!tests-done 1"],
        &["!tests-done 1", "!tests 1", "!test a", "!passed"],
    ] {
        assert_eq!(tests(lines, SUCCESS).0, Status::Failed, "{lines:?}");
    }
    assert_eq!(commands(&["!console", "!commands-done 0", "!command a"], SUCCESS).0, Status::Failed);
    assert_eq!(commands(&["!commands-done 0", "!console"], SUCCESS).0, Status::Failed);
    for how in [SUCCESS, PANIC] {
        let lines = ["!tests 1", "!test a", "!passed", "!tests-done 1", "!panic"];
        assert_eq!(tests(&lines, how).0, Status::Crashed, "{how:?}");
    }
}

/// Seen failing without that look.
#[test]
fn a_kernel_of_another_kind_is_no_success() {
    for other in ["!console", "!commands-done 3"] {
        let lines = [other, "!tests 0", "!tests-done 0"];
        assert_eq!(tests(&lines, SUCCESS).0, Status::Failed, "{other}");
    }
    for other in ["!tests 1", "!tests-done 0"] {
        let lines = ["!console", other, "!commands-done 0"];
        assert_eq!(commands(&lines, SUCCESS).0, Status::Failed, "{other}");
    }
}

/// Seen failing without the count.
#[test]
fn all_commands_must_have_run_unless_one_switches_the_machine_off() {
    let of = |lines: &[&str]| judge(Purpose::commands("a; b & c; ;"), lines, SUCCESS).status;
    assert_eq!(of(&["!console", "!command a", "!command b & c", "!commands-done 0"]), Status::Ok);
    assert_eq!(of(&["!console", "!command a", "!commands-done 0"]), Status::Failed);
    assert_eq!(of(&["!console", "!command a & poweroff", "!commands-done 0"]), Status::Ok);
    let twice = ["!console", "!command poweroff", "!command poweroff", "!commands-done 0"];
    assert_eq!(judge(Purpose::commands("a; b; c"), &twice, SUCCESS).status, Status::Ok);
}

/// Seen failing with the end of any machine by the receiver of its output a success.
#[test]
fn a_machine_that_was_ended_has_not_done_what_it_was_for() {
    assert_eq!(commands(&["!console", "!commands-done 0"], How::EndedByUser).0, Status::Failed);
    let lines = ["!tests 1", "!test a", "!passed", "!tests-done 1"];
    assert_eq!(tests(&lines, How::EndedByUser), (Status::Failed, 1, 1));
}

#[test]
fn counts_that_do_not_add_up_are_no_success() {
    for (lines, passed, failed) in [
        (&["!tests 2", "!test a", "!passed", "!tests-done 1"][..], 1, 1),
        (&["!tests 2", "!test a", "!passed", "!tests-done 2"], 1, 1),
        (&["!tests 1", "!test a", "!passed", "!tests-done 0"], 1, 1),
        (&["!tests 1", "!test a", "!passed", "!test b", "!passed", "!tests-done 2"], 2, 1),
        (&["!tests 1", "!test a", "!passed", "!passed", "!tests-done 1"], 1, 1),
        (&["!tests 1", "!passed", "!tests-done 1"], 0, 1),
        (&["!tests 2", "!test a", "!test b", "!passed", "!tests-done 1"], 1, 1),
        (&["!tests 1", "!test a", "!tests-done 0"], 0, 1),
        (&["!tests 1", "!test a", "!passed"], 1, 1),
        (&["!test a", "!passed", "!tests-done 1"], 1, 1),
        (&["!tests one", "!test a", "!passed", "!tests-done 1"], 1, 1),
        (&["!tests 1", "!test a", "!passed", "!test b", "!tests-done 1"], 1, 1),
        (&["!tests 1", "!test a", "!test b", "!passed", "!tests-done 1"], 1, 1),
        (&["!tests 1", "!test a", "!nosuch", "!passed", "!tests-done 1"], 1, 1),
        (&["!tests 1", "!test a", "!passed", "!nonsense", "!tests-done 1"], 1, 1),
        (&["!tests-done 0"], 0, 1),
        (&[], 0, 1),
    ] {
        assert_eq!(tests(lines, SUCCESS), (Status::Failed, passed, failed), "{lines:?}");
    }
}

#[test]
fn a_failed_test_is_counted_with_those_that_never_ran() {
    assert_eq!(tests(&["!tests 4", "!test a", "!passed", "!test b"], FAILURE), (Status::Failed, 1, 3));
    assert_eq!(
        tests(&["!tests 4", "!test a", "!passed", "!test b", "!panic"], PANIC),
        (Status::Crashed, 1, 3)
    );
    assert_eq!(tests(&["!tests 1", "!test a", "!passed", "!tests-done 1"], FAILURE), (Status::Failed, 1, 1));
    // Those that were not announced, too.
    assert_eq!(tests(&["!test a", "!test b"], How::TimedOut), (Status::TimedOut, 0, 2));
}

#[test]
fn an_expected_panic_passes() {
    let lines =
        ["!tests 1", "!test guard", "!expect-panic guard page of", "!panic", "hit the guard page of area 3"];
    assert_eq!(tests(&lines, PANIC), (Status::Ok, 1, 0));
}

#[test]
fn any_other_end_of_an_expected_panic_fails() {
    let begin = ["!tests 1", "!test guard", "!expect-panic guard page"];
    let with = |more: &[&'static str]| [&begin[..], more].concat();
    assert_eq!(tests(&with(&["!panic", "another cause"]), PANIC), (Status::Crashed, 0, 1));
    assert_eq!(
        tests(&with(&["guard page", "!panic"]), PANIC),
        (Status::Crashed, 0, 1),
        "text before the report"
    );
    assert_eq!(tests(&with(&["guard page"]), PANIC), (Status::Crashed, 0, 1), "no report");
    assert_eq!(tests(&with(&["!panic", "guard page"]), RESET), (Status::Crashed, 0, 1));
    assert_eq!(tests(&with(&["!panic", "guard page"]), SUCCESS), (Status::Crashed, 0, 1));
    assert_eq!(tests(&with(&["!panic", "guard page"]), How::TimedOut), (Status::TimedOut, 0, 1));
    assert_eq!(tests(&with(&[]), RESET), (Status::Crashed, 0, 1));
    assert_eq!(tests(&with(&["!passed", "!tests-done 1"]), SUCCESS), (Status::Failed, 0, 1));
    assert_eq!(tests(&with(&[]), SUCCESS), (Status::Failed, 0, 1));
}

#[test]
fn a_panic_is_expected_from_its_announcement_to_the_end_of_the_test() {
    for last in [Record::Passed, Record::Test { name: "b" }] {
        let mut judge = Judge::new(TESTS);
        let mut expects = |record| {
            judge.record(record);
            judge.expects_panic()
        };
        assert!(!expects(Record::Test { name: "a" }) && expects(Record::ExpectPanic { text: "x" }));
        assert!(expects(Record::Panic) && !expects(last));
    }
}

#[test]
fn an_expectation_holds_for_its_own_test_only() {
    let lines = ["!tests 2", "!test a", "!expect-panic x", "!test b", "!panic", "x"];
    assert_eq!(tests(&lines, PANIC).0, Status::Crashed);
    assert_eq!(tests(&["!tests 1", "!expect-panic x", "!panic", "x"], PANIC).0, Status::Crashed);
}

#[test]
fn tests_after_an_expected_panic_did_not_run() {
    let lines = ["!tests 2", "!test a", "!expect-panic x", "!panic", "x"];
    assert_eq!(tests(&lines, PANIC), (Status::Failed, 1, 1));
}

#[test]
fn a_reboot_starts_a_console_again_and_nothing_else() {
    let verdict = judge(Purpose::Console, &["!console", "!reboot"], RESET);
    assert!(verdict.again && verdict.status == Status::Ok, "{verdict:?}");
    let verdict = judge(COMMANDS, &["!console", "!reboot"], RESET);
    assert!(!verdict.again && verdict.status == Status::Failed, "{verdict:?}");
    let verdict = judge(Purpose::Console, &["!console", "!reboot", "!panic"], RESET);
    assert!(!verdict.again && verdict.status == Status::Crashed, "{verdict:?}");
    let verdict = judge(Purpose::Console, &["!console", "!reboot"], SUCCESS);
    assert!(!verdict.again, "{verdict:?}");
}

#[test]
fn a_console_ends_well_by_poweroff_or_by_the_user() {
    assert_eq!(judge(Purpose::Console, &["!console"], SUCCESS).status, Status::Ok);
    assert_eq!(judge(Purpose::Console, &[], How::EndedByUser).status, Status::Ok);
    assert_eq!(judge(Purpose::Console, &[], SUCCESS).status, Status::Failed);
    assert_eq!(judge(Purpose::Console, &["!console"], FAILURE).status, Status::Failed);
}
