//! Runs histories until one fails or there were enough, shrinks the one that fails, and prints it.

use clap::{Parser, value_parser};
use fuzz::{Failure, History, shrink::shrink};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Random sequences of the library's calls on a simulated machine, beside a naive model.
#[derive(Debug, Parser)]
#[command(name = "./run.sh fuzz", bin_name = "./run.sh fuzz")]
#[command(
    after_help = "Exit status: 0 all is as it should be; 1 something failed, and is printed as the shortest list of \
    steps that still fails; 2 usage; 124 a history did not end."
)]
struct Options {
    /// Which histories: each seed has its own
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How many operations at least
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = value_parser!(u64).range(1..))]
    operations: u64,
    /// Only this history of the seed
    #[arg(long, value_name = "H", value_parser = value_parser!(u64).range(..u64::MAX))]
    history: Option<u64>,
    /// Operations of a history
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = value_parser!(u64).range(1..=1_000_000))]
    length: u64,
    /// Where lists of steps that fail are kept [default: failures, beside this program in target/]
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Run the lists of steps in these files instead
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Seconds after which a history has hung: one takes a tenth of a second.
const PATIENCE: u64 = 300;
/// Runs that shrinking may take.
const TRIES: usize = 20_000;
/// When the program began.
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
/// The second in which something was run last, and the history.
static ALIVE: (AtomicU64, AtomicU64) = (AtomicU64::new(0), AtomicU64::new(0));

/// Says that a history, or a file with a list of steps, is about to run.
fn alive(number: u64) {
    ALIVE.1.store(number, Ordering::Relaxed);
    ALIVE.0.store(BEGIN.elapsed().as_secs(), Ordering::Relaxed);
}

fn main() -> ExitCode {
    let options = Options::parse();
    alive(0);
    if !options.files.is_empty() {
        let files = options.files.clone();
        thread::spawn(move || watch(|number| format!("./run.sh fuzz {}", files[number as usize].display())));
        return run_files(&options.files);
    }
    let (seed, length) = (options.seed, options.length);
    thread::spawn(move || watch(|number| command(seed, number, length)));
    let histories = match options.history {
        Some(history) => history..history + 1,
        None => 0..options.operations.div_ceil(length),
    };
    let (mut operations, mut last) = (0, Instant::now());
    for number in histories.clone() {
        alive(number);
        let history = History::draw(seed, number, length as usize);
        if let Err(failure) = history.run() {
            return tell(&options, number, history, failure);
        }
        operations += history.steps.len() as u64;
        if last.elapsed() > Duration::from_secs(60) {
            last = Instant::now();
            println!("{operations} operations, {:.0} s", BEGIN.elapsed().as_secs_f64());
        }
    }
    let (seconds, count) = (BEGIN.elapsed().as_secs_f64(), histories.end - histories.start);
    println!(
        "seed {seed}: {operations} operations in {count} histories, {seconds:.1} s: all is as it should be"
    );
    ExitCode::SUCCESS
}

/// The command that runs a history again.
fn command(seed: u64, number: u64, length: u64) -> String {
    format!("./run.sh fuzz --seed {seed} --history {number} --length {length}")
}

/// Ends the program when what runs, by the command that it is repeated by, does not end.
fn watch(command: impl Fn(u64) -> String) {
    loop {
        thread::sleep(Duration::from_secs(1));
        let (since, number) = (ALIVE.0.load(Ordering::Relaxed), ALIVE.1.load(Ordering::Relaxed));
        if BEGIN.elapsed().as_secs() > since + PATIENCE {
            println!("a history does not end, or what is shrunk of it does not");
            println!("repeat it by: {}", command(number));
            std::process::exit(124);
        }
    }
}

/// Shrinks what failed, and prints and keeps it.
fn tell(options: &Options, number: u64, history: History, failure: Failure) -> ExitCode {
    let seed = options.seed;
    println!("seed {seed}, history {number}: {failure}");
    println!("repeat it by: {}", command(seed, number, options.length));
    let shrunk = shrink(history, failure, TRIES, |history| {
        alive(number);
        history.run()
    });
    let list = commented(&shrunk.history);
    let beside = || std::env::current_exe().unwrap_or_default().with_file_name("failures");
    let keep = options.keep.clone().unwrap_or_else(beside);
    let file = keep.join(format!("seed-{seed}-history-{number}.txt"));
    let text = format!(
        "# seed {seed}, history {number}\n# {}\n{list}",
        shrunk.failure.to_string().replace('\n', "\n# ")
    );
    // First kept, then printed: who reads it may go away.
    let kept = fs::create_dir_all(&keep).and_then(|()| fs::write(&file, text));
    println!("shrunk to {} steps in {} runs: {}", shrunk.history.steps.len(), shrunk.tries, shrunk.failure);
    print!("{list}");
    match kept {
        Ok(()) => println!("run this list by: ./run.sh fuzz {}", file.display()),
        Err(error) => println!("{}: {error}", file.display()),
    }
    ExitCode::FAILURE
}

/// Writes a history with what each step does behind it.
fn commented(history: &History) -> String {
    let mut told = Vec::new();
    let _ = history.run_and_tell(&mut told);
    let mut text = format!("{}\n", history.setting);
    for (index, step) in history.steps.iter().enumerate() {
        let words: Vec<&str> = told
            .windows(2)
            .filter(|pair| pair[0].0 == index)
            .flat_map(|pair| pair[1].1.iter().map(String::as_str))
            .collect();
        let _ = match words.is_empty() {
            true => writeln!(text, "{step}"),
            false => writeln!(text, "{step:<50} # {}", words.join("; ")),
        };
    }
    text
}

fn run_files(files: &[PathBuf]) -> ExitCode {
    for (number, file) in files.iter().enumerate() {
        alive(number as u64);
        let read =
            |file: &Path| fs::read_to_string(file).map_err(|error| error.to_string())?.parse::<History>();
        let history = match read(file) {
            Ok(history) => history,
            Err(error) => {
                println!("{}: {error}", file.display());
                return ExitCode::from(2);
            }
        };
        if let Err(failure) = history.run() {
            println!("{}: {failure}", file.display());
            print!("{}", commented(&history));
            return ExitCode::FAILURE;
        }
        println!("{}: {} steps: all is as it should be", file.display(), history.steps.len());
    }
    ExitCode::SUCCESS
}
