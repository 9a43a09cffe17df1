//! The file that `--config` names: its keys are the options of the command, without the two dashes.
//!
//! A setting is declared once, as an option. The file is another place to write it: what stands there becomes an argument of
//! the command line, unless the command line or the environment gives the option already.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::builder::ValueHint;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::usage;

/// The option that names the file.
const CONFIG: &str = "config";
/// The option of every command that uses Kafka. Such commands may share a file, so a key of another role is no mistake.
const KAFKA: &str = "kafka";
/// Tables with settings of the Kafka client, which are no options.
const KAFKA_TABLES: [&str; 3] = ["kafka-client", "kafka-producer", "kafka-consumer"];

/// Adds the settings of the file to the arguments of a command line.
///
/// # Errors
/// The file cannot be read, or a line of it is wrong: usage.
pub(crate) fn complete(root: &Command, mut args: Vec<OsString>) -> Result<Vec<OsString>> {
    // An error of the command line itself is reported by the parser that comes next.
    let Ok(matches) = relaxed(root.clone()).try_get_matches_from(&args) else { return Ok(args) };
    let chosen = chosen(root, &matches);
    let Ok(Some(path)) = chosen.matches.try_get_one::<PathBuf>(CONFIG) else { return Ok(args) };
    let text = read(path)?;
    let table = parse(path, &text)?;
    for (key, value) in table.get_ref() {
        let file = File { path, text: &text, line: line(&text, key.span().start) };
        args.extend(file.arguments(root, &chosen, key.get_ref(), value)?);
    }
    Ok(args)
}

/// What to print instead of the parser's message if an option is missing: every place where it may be given.
pub(crate) fn missing(root: &Command, args: &[OsString], error: &clap::Error) -> Option<String> {
    let Some(ContextValue::Strings(options)) = error.get(ContextKind::InvalidArg) else { return None };
    let given = options.first().filter(|_| error.kind() == ErrorKind::MissingRequiredArgument)?;
    let key = given.strip_prefix("--")?.split(' ').next()?;
    let matches = relaxed(root.clone()).try_get_matches_from(args).ok()?;
    let command = chosen(root, &matches).command;
    let variable = option(command, key)?.get_env().map(|name| name.display().to_string());
    Some(match (variable, option(command, CONFIG)) {
        (None, _) => format!("--{key} is missing: give {given}"),
        (Some(variable), None) => format!("--{key} is missing: give it, or set {variable}"),
        (Some(variable), Some(_)) => {
            format!("--{key} is missing: give it, set {variable}, or write `{key}` into the file of --config")
        }
    })
}

/// The command that a command line chooses.
struct Chosen<'c> {
    /// With the commands above it, as it is written.
    name: String,
    command: &'c Command,
    matches: &'c ArgMatches,
}

fn chosen<'c>(root: &'c Command, matches: &'c ArgMatches) -> Chosen<'c> {
    let mut chosen = Chosen { name: root.get_name().to_owned(), command: root, matches };
    while let Some((name, matches)) = chosen.matches.subcommand() {
        let command = chosen.command.find_subcommand(name).expect("a command that was matched");
        chosen = Chosen { name: format!("{} {name}", chosen.name), command, matches };
    }
    chosen
}

/// The settings of the Kafka client that stand in the file, by table in the order of [`KAFKA_TABLES`].
///
/// # Errors
/// As [`complete`].
pub(crate) fn kafka_tables(path: Option<&Path>) -> Result<[BTreeMap<String, String>; 3]> {
    let Some(path) = path else { return Ok(Default::default()) };
    let text = read(path)?;
    let table = parse(path, &text)?;
    let settings = |name: &str| {
        let Some((_, value)) = table.get_ref().iter().find(|(key, _)| key.get_ref() == name) else {
            return Ok(BTreeMap::new());
        };
        let DeValue::Table(settings) = value.get_ref() else {
            let file = File { path, text: &text, line: line(&text, value.span().start) };
            return Err(file.wrong(&format!("{name} is no table: write [{name}] and the settings below it")));
        };
        let setting = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| -> Result<(String, String)> {
            let key: &toml::de::DeString<'_> = key.get_ref();
            let file = File { path, text: &text, line: line(&text, value.span().start) };
            Ok((key.to_string(), file.scalar(key, value.get_ref())?))
        };
        settings.iter().map(setting).collect()
    };
    let [client, producer, consumer] = KAFKA_TABLES.map(settings);
    Ok([client?, producer?, consumer?])
}

/// A command that does not insist on its required options: the file may give them.
fn relaxed(command: Command) -> Command {
    command.mut_args(|arg| arg.required(false)).mut_subcommands(relaxed)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| usage(format!("--config {}: cannot be read: {e}", path.display())))
}

fn parse<'t>(path: &Path, text: &'t str) -> Result<Spanned<DeTable<'t>>> {
    DeTable::parse(text).map_err(|error| {
        let file = File { path, text, line: error.span().map_or(1, |span| line(text, span.start)) };
        file.wrong(&error.message().trim_end().replace('\n', " "))
    })
}

fn line(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

/// A line of the file.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
    line: usize,
}

impl File<'_> {
    fn wrong(&self, what: &str) -> anyhow::Error {
        usage(format!("--config {}:{}: {what}", self.path.display(), self.line))
    }

    /// The arguments that a key stands for.
    fn arguments(
        &self,
        root: &Command,
        chosen: &Chosen<'_>,
        key: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<OsString>> {
        let &Chosen { ref name, command, matches } = chosen;
        let uses_kafka = option(command, KAFKA).is_some();
        if uses_kafka && KAFKA_TABLES.contains(&key) {
            return Ok(Vec::new());
        }
        let Some(arg) = option(command, key).filter(|_| key != CONFIG) else {
            let is_shared =
                uses_kafka && root.get_subcommands().any(|role| option(role, KAFKA).and(option(role, key)).is_some());
            let what = || self.wrong(&format!("{key} is no setting of {name}: see `{name} --help`"));
            return if is_shared && key != CONFIG { Ok(Vec::new()) } else { Err(what()) };
        };
        let texts = match value.get_ref() {
            DeValue::Array(values) => values.iter().map(|value| self.scalar(key, value.get_ref())).collect(),
            one => self.scalar(key, one).map(|text| vec![text]),
        };
        let mut texts: Vec<String> = texts?;
        if arg.get_value_hint() == ValueHint::AnyPath {
            let beside = self.path.parent().unwrap_or(Path::new(""));
            texts.iter_mut().for_each(|text| *text = beside.join(&*text).display().to_string());
        }
        if arg.get_num_args().is_none_or(|values| values.max_values() < 2) {
            texts = vec![texts.join(",")];
        }
        let argument = |text: &String| OsString::from(format!("--{key}={text}"));
        let arguments: Vec<OsString> = texts.iter().map(argument).collect();
        let given = matches.value_source(arg.get_id().as_str());
        let alone = std::iter::once(OsString::from("mashang")).chain(arguments.iter().cloned());
        match relaxed(command.clone()).try_get_matches_from(alone) {
            // A mistake is reported even where another value goes before it.
            Ok(_) if matches!(given, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) => Ok(Vec::new()),
            Ok(_) => Ok(arguments),
            Err(error) => Err(self.wrong(&format!("{key}: {}", reason(&error)))),
        }
    }

    fn scalar(&self, key: &str, value: &DeValue<'_>) -> Result<String> {
        match value {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Boolean(flag) => Ok(flag.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                let line = self.text.lines().nth(self.line - 1).unwrap_or_default().trim();
                let what =
                    format!("{key}: `{line}`: write a text, a decimal integer, true or false, or a list of them");
                Err(self.wrong(&what))
            }
        }
    }
}

fn option<'c>(command: &'c Command, key: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(key))
}

/// Why the parser refuses a value, without the words around it.
fn reason(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return source.to_string();
    }
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("For more information"));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
