use std::time::Duration;

use super::draw::{Choices, LEAST_MEMORY, Plan};
use super::judge::{Account, Outcome};
use super::random::Random;
use super::{Options, any_machine, repeat, times};
use crate::cli;
use crate::machine::options::{Accel, Memory};
use crate::session::judge::Verdict;
use crate::status::Status;

fn all() -> Choices {
    Choices::of(&[], &[]).unwrap()
}

fn plans(count: u64) -> Vec<Plan> {
    (0..count).map(|run| Plan::draw(7, run, &all())).collect()
}

fn verdict(status: Status, complaints: &[&str]) -> Verdict {
    let complaints = complaints.iter().map(|&text| text.to_owned()).collect();
    Verdict { status, complaints, passed: 0, failed: 0, again: false }
}

#[test]
fn a_seed_and_a_number_decide_a_run() {
    assert_eq!(plans(50), plans(50));
    assert_ne!(Plan::draw(7, 0, &all()), Plan::draw(7, 1, &all()));
    assert_ne!(Plan::draw(7, 0, &all()), Plan::draw(8, 0, &all()));
    // A run is the same whatever is run before it.
    assert_eq!(plans(50)[49], Plan::draw(7, 49, &all()));
}

#[test]
fn one_in_so_many_is_about_as_many() {
    let mut random = Random::new(1, 2);
    let drawn = (0..400).filter(|_| random.one_in(4)).count();
    assert!((60..140).contains(&drawn), "{drawn}");
    let numbers: Vec<u64> = (0..400).map(|_| random.below(u64::MAX)).collect();
    for bit in 0..64 {
        let set = numbers.iter().filter(|&number| number >> bit & 1 == 1).count();
        assert!((150..250).contains(&set), "bit {bit}: {set}");
    }
}

#[test]
fn all_kinds_of_machines_kernels_and_loads_are_drawn() {
    let plans = plans(400);
    let any = |is_it: &dyn Fn(&Plan) -> bool| plans.iter().filter(|plan| is_it(plan)).count() > 5;
    for cpus in [1, 2, 8, 64] {
        assert!(any(&|plan| plan.cpus == cpus), "{cpus}");
    }
    for memory in ["96M", "1G", "12G"] {
        assert!(any(&|plan| plan.memory.to_string() == memory), "{memory}");
    }
    assert!(any(&|plan| plan.checked) && any(&|plan| !plan.checked));
    for word in ["isolated=", "vmalloc.reuse=0"] {
        assert!(any(&|plan| plan.parameters.contains(word)), "{word}");
    }
    for word in [
        "mode=stress",
        " & latency",
        " & replay",
        " & hold",
        "; vmap_loop",
        "perf vmap_loop",
        "trace on",
        "trace purges",
        "history",
        "lazy_max_pages=1 ",
    ] {
        assert!(any(&|plan| plan.commands.contains(word)), "{word}");
    }
}

#[test]
fn each_run_ends_as_it_began_and_says_whether_anything_was_left_behind() {
    for plan in plans(400) {
        assert!(plan.commands.starts_with("balance mark; "), "{}", plan.commands);
        assert!(plan.commands.ends_with("; trace clear; top clear; hold 0; balance"), "{}", plan.commands);
        let isolated = plan.parameters.split_whitespace().find_map(|word| word.strip_prefix("isolated="));
        for cpu in isolated.into_iter().flat_map(|list| list.split(',')) {
            assert!((1..plan.cpus).contains(&cpu.parse().unwrap()), "{}", plan.parameters);
        }
        assert_eq!(plan.replays, plan.commands.contains("replay"));
    }
}

#[test]
fn the_users_lists_are_kept_to() {
    let choices = Choices::of(&[3], &["256M".parse().unwrap()]).unwrap();
    for run in 0..20 {
        let plan = Plan::draw(1, run, &choices);
        assert_eq!((plan.cpus, plan.memory.to_string()), (3, "256M".into()));
    }
    assert_eq!(Choices::of(&[], &["64M".parse().unwrap()]).unwrap_err().status, Status::Usage);
}

fn options(arguments: &[&str]) -> Options {
    let words = ["soak"].iter().chain(arguments).map(|&word| word.into());
    match cli::parse(words.collect()).map(|cli| cli.action) {
        Ok(cli::Action::Soak(options)) => options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_command_that_repeats_a_run_has_all_that_decides_it() {
    assert_eq!(repeat(&options(&[]), 5, 3), "./run.sh soak --seed 5 --run 3");
    let of_few =
        ["--cpus", "2,8", "--memory", "96M,1G", "--accel", "tcg", "--commands", "vmalloc 1; balance"];
    let of_few = options(&of_few);
    let command = repeat(&of_few, 5, 3);
    assert_eq!(
        command,
        "./run.sh soak --seed 5 --run 3 --cpus 2,8 --memory 96M,1G --accel tcg --commands 'vmalloc 1; balance'"
    );
    let again = options(&shlex::split(&command).unwrap()[2..].iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((again.seed, again.run, again.cpus), (Some(5), Some(3), vec![2, 8]));
    assert_eq!(again.accel, Accel::Tcg);
    for wrong in [&["--minutes", "0"][..], &["--cpus", "0"], &["--cpus", "x"], &["--memory", "1"]] {
        let words = ["soak"].iter().chain(wrong).map(|&word| word.into());
        assert_eq!(cli::parse(words.collect()).unwrap_err().status, Status::Usage, "{wrong:?}");
    }
}

/// What these commands said, of which the kernel counts so many as failed.
fn account(commands: &[(&str, &str)], failed: usize) -> Account {
    let mut account = Account::default();
    account.text(b"test_vmalloc: said before any command\n");
    for (command, text) in commands {
        account.command(command);
        account.text(text.as_bytes());
    }
    account.failed = failed;
    account
}

fn why(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn outcomes_and_plans_are_said_in_a_line() {
    let said = |outcome: Outcome| outcome.to_string();
    assert_eq!(said(Outcome::Well), "ok");
    assert_eq!(said(Outcome::Short(2)), "ok, 2 commands ran out of memory");
    assert_eq!(said(Outcome::Unfit), "ok, too little memory to boot");
    assert_eq!(said(Outcome::Failed { status: Status::Crashed, why: "x".into() }), "FAILED: x");
    let plan = plan(4, 512, "a & b; c");
    assert_eq!(plan.to_string(), "4 CPUs, 512M, release, 3 commands");
    let plan = Plan { parameters: "isolated=3".into(), checked: true, ..plan };
    assert_eq!(plan.to_string(), "4 CPUs, 512M, debug, isolated=3, 3 commands");
    assert_eq!(times(Duration::from_secs(3), None), "3 s");
    assert_eq!(times(Duration::from_secs(3), Some(Duration::from_secs(7))), "3 s, 7 s of CPU time");
}

fn plan(cpus: u16, mebibytes: u32, commands: &str) -> Plan {
    Plan {
        cpus,
        memory: Memory { mebibytes },
        checked: false,
        parameters: String::new(),
        commands: commands.into(),
        replays: false,
    }
}

#[test]
fn loads_are_as_long_as_the_machine_is_small_and_their_cases_any() {
    let mut cases = 0;
    for plan in plans(400) {
        let numbers = |name: &str| -> Vec<u64> {
            let words = plan.commands.split([' ', ';']);
            words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok()).collect()
        };
        let few = if plan.checked { 200 } else { 800 };
        let loops = (few / u64::from(plan.cpus)).max(5);
        assert!(numbers("test_loop_count").iter().all(|&count| count == loops), "{}", plan.commands);
        assert!(
            numbers("test_repeat_count").iter().all(|count| (1..=2).contains(count)),
            "{}",
            plan.commands
        );
        for mask in numbers("run_test_mask") {
            assert!((1..1 << 13).contains(&mask), "{mask}");
            cases |= mask;
        }
        let cpus = u64::from(plan.cpus);
        assert!(numbers("nr_threads").iter().all(|threads| [cpus, 2 * cpus, 3].contains(threads)));
        // No command sets a tunable twice.
        for command in plan.commands.split(';').filter(|command| command.contains("sysctl ")) {
            let mut names: Vec<&str> =
                command.split(' ').filter_map(|word| Some(word.split_once('=')?.0)).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{command}");
        }
    }
    assert_eq!(cases, (1 << 13) - 1);
    let threads = plans(400).iter().filter(|plan| plan.commands.contains("nr_threads=")).count();
    assert!((100..400).contains(&threads), "{threads}");
}

/// Seen failing when the area is not counted, or CPUs in the place of threads.
#[test]
fn memory_is_small_for_an_area_of_1_gib_and_for_many_threads() {
    let choices = Choices::of(&[1], &["1G".parse().unwrap()]).unwrap();
    let plans: Vec<_> = (0..400).map(|run| Plan::draw(1, run, &choices)).collect();
    assert!(plans.iter().any(Plan::is_small) && !plans.iter().all(Plan::is_small));
    for plan in plans {
        let is_small =
            ["free=area", "nr_threads=2", "nr_threads=3"].iter().any(|word| plan.commands.contains(word));
        assert_eq!(plan.is_small(), is_small, "{}", plan.commands);
    }
}

/// Seen failing with 160 MiB for each thread.
#[test]
fn memory_is_small_for_many_cpus_whose_threads_fill_every_hole() {
    let choices = Choices::of(&[16], &["4G".parse().unwrap()]).unwrap();
    let mut plan = Plan::draw(900_006, 4, &choices);
    let is_small = |plan: &mut Plan, mask| {
        plan.commands = format!("test_vmalloc mode=stress run_test_mask={mask}; balance");
        plan.is_small()
    };
    assert!(is_small(&mut plan, 2) && is_small(&mut plan, 8191) && !is_small(&mut plan, 8189));
    plan.cpus = 4;
    assert!(!is_small(&mut plan, 8191));
}

#[test]
fn a_shortage_is_right_only_where_memory_is_small_and_never_of_balance() {
    let short = [(
        "test_vmalloc mode=stress & hold 3",
        "x\ntest_vmalloc: 3 runs of cases failed: out of frames: 9\n3 are held\n",
    )];
    let failed = verdict(Status::Failed, &[]);
    assert_eq!(account(&short, 1).outcome(&failed, true), Outcome::Short(1));
    let said = why(account(&short, 1).outcome(&failed, false));
    assert_eq!(said, "test_vmalloc: 3 runs of cases failed: out of frames: 9");
    // Seen failing with what the first run ran into not asked for.
    let wrong =
        [("test_vmalloc", "test_vmalloc: 3 runs of cases failed: nothing can be allocated in a handler\n")];
    assert!(why(account(&wrong, 1).outcome(&failed, true)).contains("in a handler"));
    let left =
        [("balance", "balance: something was left behind: frames of areas: 1, then 3; out of frames\n")];
    assert!(why(account(&left, 1).outcome(&failed, true)).contains("left behind"));
    // There was not even a thread for it. Seen failing: with commands known by their first word alone.
    let not_begun = [("hold 3 & latency load=1", "latency load=1: no memory for a thread: out of frames\n")];
    assert_eq!(account(&not_begun, 1).outcome(&failed, true), Outcome::Short(1));
    let other = [("hold 3", "hold: 3: not a number\n")];
    assert_eq!(why(account(&other, 1).outcome(&failed, true)), "hold: 3: not a number");
}

/// Seen failing: QEMU was asked for a machine of one CPU, and refused it.
#[test]
fn the_machine_that_is_asked_for_first_has_the_cpus_and_the_memory_of_the_runs() {
    let options = options(&["--cpus", "4", "--memory", "4G", "--qemu", "-numa node,cpus=0-3"]);
    let machine = any_machine(&options);
    assert_eq!((machine.cpus(), machine.memory.to_string()), (4, "4G".into()));
    assert_eq!(any_machine(&Options { cpus: vec![], memory: vec![], ..options }).cpus(), 1);
}

#[test]
fn a_failure_of_no_command_is_one() {
    let outcome = account(&[], 0).outcome(&verdict(Status::Failed, &[]), true);
    assert!(matches!(outcome, Outcome::Failed { status: Status::Failed, .. }), "{outcome:?}");
}

#[test]
fn memory_is_enough_where_it_is_as_much_as_all_threads_may_want() {
    for (commands, of_thread) in
        [("run_test_mask=2", 192), ("run_test_mask=1", 160), ("run_test_mask=3", 192)]
    {
        let enough = 4 * of_thread + 768;
        assert!(!plan(4, enough, commands).is_small(), "{commands}");
        assert!(plan(4, enough - 1, commands).is_small(), "{commands}");
    }
    let least = LEAST_MEMORY;
    assert!(Choices::of(&[], &[least]).is_ok());
    assert!(Choices::of(&[], &[Memory { mebibytes: least.mebibytes - 1 }]).is_err());
}

#[test]
fn a_failure_that_no_line_tells_of_is_one() {
    let short = [("test_vmalloc", "test_vmalloc: out of frames\n"), ("hold 3", "")];
    let failed = verdict(Status::Failed, &[]);
    let said = why(account(&short, 2).outcome(&failed, true));
    assert_eq!(said, "2 commands failed, and 1 lines say why");
    assert_eq!(why(account(&[], 1).outcome(&failed, true)), "1 commands failed, and 0 lines say why");
}

#[test]
fn what_the_judge_of_the_machine_says_is_final() {
    let hung = verdict(Status::TimedOut, &["timed out"]);
    let Outcome::Failed { status, why } = account(&[], 0).outcome(&hung, true) else { panic!("hung") };
    assert_eq!((status, why.as_str()), (Status::TimedOut, "timed out"));
    let cut = verdict(Status::Failed, &["the kernel ended before its commands were done"]);
    let short = [("test_vmalloc", "test_vmalloc: out of frames\n")];
    assert!(matches!(account(&short, 1).outcome(&cut, true), Outcome::Failed { .. }));
    let unfit = verdict(Status::Unfit, &["the machine is unfit: too little memory for the heap"]);
    assert_eq!(account(&[], 0).outcome(&unfit, true), Outcome::Unfit);
    assert!(matches!(account(&[], 0).outcome(&unfit, false), Outcome::Failed { .. }));
    assert_eq!(account(&[], 0).outcome(&verdict(Status::Ok, &[]), false), Outcome::Well);
}
