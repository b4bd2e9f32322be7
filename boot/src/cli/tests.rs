//! What the user may type, and what the answer to everything else is.

use super::*;
use crate::machine::options::{Accel, Memory, Qemu, TIMEOUT};
use crate::session::patience::Limit;
use crate::status::Status;
use std::time::Duration;

fn cli(words: &[&str]) -> Result<Cli> {
    parse(words.iter().map(OsString::from).collect())
}

fn machine(words: &[&str]) -> Options {
    match cli(words).unwrap().action {
        Action::Boot(machine) | Action::Exec { machine, .. } | Action::Test { machine, .. } => machine,
        other => panic!("{other:?}"),
    }
}

fn complaint(words: &[&str]) -> String {
    let error = cli(words).unwrap_err();
    assert_eq!(error.status, Status::Usage, "{words:?}");
    assert_eq!(error.message.lines().count(), 1, "{}", error.message);
    error.message
}

#[test]
fn clap_finds_no_fault_in_the_description() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
    RunArguments::command().debug_assert();
    TestArguments::command().debug_assert();
}

#[test]
fn no_action_means_boot() {
    assert!(matches!(cli(&[]).unwrap().action, Action::Boot(_)));
    assert_eq!(machine(&["--cpus", "4"]).cpus(), 4);
}

#[test]
fn defaults() {
    let machine = machine(&["boot"]);
    assert_eq!((machine.cpus(), machine.memory.mebibytes), (2, 1024));
    assert_eq!((machine.icount, machine.accel), (None, Accel::Auto));
    assert_eq!((machine.timeout, machine.limit()), (None, Limit::Silent(TIMEOUT)));
    assert!(machine.append.is_empty() && machine.gdb.is_none() && !machine.verbose);
    assert_eq!(machine.qemu, Qemu::default());
}

#[test]
fn icount_has_a_default_shift_and_one_cpu() {
    let machine_of = |words| (machine(words).icount, machine(words).cpus());
    assert_eq!(machine_of(&["boot", "--icount"]), (Some(6), 1));
    assert_eq!(machine_of(&["boot", "--icount=3"]), (Some(3), 1));
    assert_eq!(machine_of(&["boot", "--icount", "--cpus", "1"]), (Some(6), 1));
}

#[test]
fn gdb_has_a_default_port() {
    assert_eq!(machine(&["boot", "--gdb"]).gdb, Some(1234));
    assert_eq!(machine(&["boot", "--gdb=7"]).gdb, Some(7));
}

#[test]
fn icount_does_not_swallow_the_commands() {
    let Action::Exec { commands, machine } = cli(&["exec", "--icount", "help; help"]).unwrap().action else {
        panic!()
    };
    assert_eq!((commands.as_str(), machine.icount), ("help; help", Some(6)));
}

#[test]
fn each_wrong_input_is_named_in_one_line() {
    for (words, named) in [
        (&["nosuch"][..], "nosuch"),
        (&["exec"], "CMD"),
        (&["exec", ""], "no command"),
        (&["exec", " ; "], "no command"),
        (&["exec", "help", "more"], "more"),
        (&["boot", "more"], "more"),
        (&["report", "more"], "more"),
        (&["report", "--from"], "--from"),
        (&["report", "--from", "x.json", "--linux"], "--linux"),
        (&["boot", "--nosuch"], "--nosuch"),
        (&["boot", "--cpus", "0"], "0"),
        (&["boot", "--cpus", "two"], "two"),
        (&["boot", "--cpus", "256"], "256"),
        (&["boot", "--memory", "1T"], "1T"),
        (&["boot", "--memory", "64M"], "64M"),
        (&["boot", "--icount=11"], "11"),
        (&["boot", "--icount", "--cpus", "2"], "--cpus 2"),
        (&["boot", "--icount", "--accel", "kvm"], "--accel kvm"),
        (&["boot", "--accel", "xen"], "xen"),
        (&["bench", "nosuch"], "nosuch"),
        (&["bench", "--json"], "--json"),
        (&["bench", "--cpus", "2"], "--cpus"),
        (&["boot", "--timeout", "0"], "0"),
        (&["boot", "--timeout", "soon"], "soon"),
        (&["boot", "--timeout", "-1"], "-1"),
        (&["boot", "--timeout", "inf"], "inf"),
        (&["boot", "--machine", ""], "--machine"),
        (&["boot", "--cpu", ""], "--cpu"),
        (&["boot", "--emulator", ""], "--emulator"),
        (&["boot", "--qemu", "-name 'open"], "-name 'open"),
        (&["boot", "--qemu"], "--qemu"),
    ] {
        let message = complaint(words);
        assert!(message.contains(named), "{words:?}: {message}");
    }
}

/// Seen failing with the words that clap adds: that the option can be passed as a value, which is no name of a test.
#[test]
fn nobody_is_told_to_pass_an_option_as_a_value() {
    assert!(!complaint(&["test", "--nocapture"]).contains("as a value"));
    assert!(complaint(&["boot", "--memroy", "1G"]).contains("--memory"));
}

#[test]
fn the_parts_of_the_suite_are_run_once_and_in_order() {
    use crate::bench::figure::Part;
    let bench = |words: &[&str]| match cli(words).unwrap().action {
        Action::Bench(bench) => bench,
        other => panic!("{other:?}"),
    };
    let all = [
        Part::Cases,
        Part::Sizes,
        Part::Live,
        Part::Timed,
        Part::Shared,
        Part::Instead,
        Part::History,
        Part::Latency,
    ];
    assert_eq!(bench(&["bench"]).parts(), all);
    let words = ["bench", "timed", "cases", "timed", "--json", "x.json", "--linux"];
    assert_eq!(bench(&words).parts(), [Part::Cases, Part::Timed]);
    assert_eq!(bench(&words).json, Some(PathBuf::from("x.json")));
}

#[test]
fn time_limits_may_have_fractions() {
    assert_eq!(machine(&["boot", "--timeout", "0.1"]).timeout, Some(Duration::from_millis(100)));
}

#[test]
fn arguments_for_qemu_are_split_as_by_a_shell() {
    let words = machine(&["boot", "--qemu", r#"-s  -name "a b" '' c\ d"#, "--qemu=-S"]).qemu.more;
    let words: Vec<_> = words.iter().flat_map(|words| &words.0).collect();
    assert_eq!(words, ["-s", "-name", "a b", "", "c d", "-S"]);
}

#[test]
fn memory_is_read_and_written() {
    for (text, mebibytes, written) in
        [("256M", 256, "256M"), ("8G", 8192, "8G"), ("1g", 1024, "1G"), ("1536m", 1536, "1536M")]
    {
        let memory: Memory = text.parse().unwrap();
        assert_eq!((memory.mebibytes, memory.to_string().as_str()), (mebibytes, written));
    }
    for text in ["", "M", "1", "1.5G", "+1G", "-1G", "1 G", "4194304G", "99999999999M", "1GiB", "µ"] {
        assert!(text.parse::<Memory>().is_err(), "{text}");
    }
}

#[test]
fn cargo_test_takes_a_filter_and_machine_options() {
    let words = ["--nocapture", "--cpus", "4", "area", "--test-threads=1", "--quiet"];
    let arguments = parse_test_arguments(words.iter().map(OsString::from).collect()).unwrap();
    assert_eq!((arguments.filter.as_deref(), arguments.machine.cpus()), (Some("area"), 4));
}

#[test]
fn the_runner_keeps_the_arguments_as_they_are() {
    let Action::RunElf { elf, arguments } = cli(&["run-elf", "/k", "--cpus", "4", "--help"]).unwrap().action
    else {
        panic!()
    };
    assert_eq!((elf, arguments.len()), (PathBuf::from("/k"), 3));
}
