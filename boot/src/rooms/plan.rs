//! A crate's rooms, the arrows between them, and what of it breaks the rules.

use std::collections::{BTreeMap, BTreeSet};

use super::arrow::{Arrow, Kind};
use super::graph::{self, Graph};
use super::order::Room;
use super::source::Source;

/// The room of the crate's root, above all others.
pub const ROOT: &str = "lib";

/// All arrows from one room to another.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// What is imported.
    pub imports: BTreeSet<Arrow>,
    /// Who calls whom.
    pub calls: BTreeSet<Arrow>,
}

/// Which files and subfolders of a folder use which, and an arrow for each pair.
type Folder = (Graph, BTreeMap<(String, String), String>);

/// A crate's rooms.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The crate's folder, from the workspace's on.
    pub folder: String,
    /// Its modules.
    pub source: Source,
    /// All arrows between its modules.
    pub arrows: BTreeSet<Arrow>,
    /// The rooms from top to bottom, without the root; none where there is no `ROOMS`.
    pub order: Option<Vec<Room>>,
}

impl Plan {
    /// The arrows between rooms, by the rooms' names.
    #[must_use]
    pub fn bundles(&self) -> BTreeMap<(&str, &str), Bundle> {
        let mut bundles: BTreeMap<(&str, &str), Bundle> = BTreeMap::new();
        for arrow in &self.arrows {
            let rooms = (Source::room_of(&arrow.from.module), Source::room_of(&arrow.to.module));
            if rooms.0 != rooms.1 {
                let bundle = bundles.entry(rooms).or_default();
                match arrow.kind {
                    Kind::Import | Kind::ReExport => bundle.imports.insert(arrow.clone()),
                    Kind::Call => bundle.calls.insert(arrow.clone()),
                };
            }
        }
        bundles
    }

    /// Which rooms use which.
    #[must_use]
    pub fn graph(&self) -> Graph {
        let mut graph = Graph::new();
        for (from, to) in self.bundles().into_keys().filter(|(from, _)| *from != ROOT) {
            graph.entry(from.into()).or_default().insert(to.into());
        }
        graph
    }

    /// The functions of a room that others call.
    #[must_use]
    pub fn door(&self, room: &str) -> usize {
        let bundles = self.bundles();
        let calls = bundles.iter().filter(|((_, to), _)| *to == room).flat_map(|(_, bundle)| &bundle.calls);
        calls.map(|arrow| &arrow.to).collect::<BTreeSet<_>>().len()
    }

    /// The files of a room.
    #[must_use]
    pub fn files(&self, room: &str) -> usize {
        let modules = self.source.modules.iter().filter(|(name, _)| Source::room_of(name) == room);
        modules.map(|(_, module)| &module.file).collect::<BTreeSet<_>>().len()
    }

    /// Where a room stands in the order: the root is above all.
    fn rank(&self, room: &str) -> Option<usize> {
        let order = self.order.as_deref().unwrap_or_default();
        match room {
            ROOT => Some(0),
            _ => order.iter().position(|line| line.name == room).map(|at| at + 1),
        }
    }

    /// Whether an arrow from one room to another runs up the order.
    #[must_use]
    pub fn runs_up(&self, from: &str, to: &str) -> bool {
        match (self.rank(from), self.rank(to)) {
            (Some(from), Some(to)) => from > to,
            _ => false,
        }
    }

    /// An arrow as a line shows it.
    #[must_use]
    pub fn show(&self, arrow: &Arrow) -> String {
        let file = |module: &str| format!("{}/{}", self.folder, self.source.file_of(module));
        let (from, to) = (file(&arrow.from.module), file(&arrow.to.module));
        match arrow.kind {
            Kind::Import | Kind::ReExport => format!("{from} → {to}: names {}", arrow.from.name),
            Kind::Call => format!("{from}:{} → {to}:{}", arrow.from.name, arrow.to.name),
        }
    }

    /// What breaks the declared order, a line each.
    #[must_use]
    pub fn order_offences(&self) -> Vec<String> {
        let file = format!("{}/ROOMS", self.folder);
        let Some(order) = &self.order else { return vec![format!("{file}: there is no such file")] };
        let rooms = self.source.rooms();
        let declared: BTreeSet<String> = order.iter().map(|room| room.name.clone()).collect();
        let mut offences: Vec<String> = declared
            .difference(&rooms)
            .map(|room| format!("{file}: {room}: there is no such room"))
            .collect();
        offences.extend(rooms.difference(&declared).map(|room| format!("{file}: {room} is not declared")));
        for ((from, to), bundle) in self.bundles() {
            if self.runs_up(from, to) {
                let arrows = bundle.imports.iter().chain(&bundle.calls);
                offences.extend(arrows.map(|arrow| format!("{} (up: {from} → {to})", self.show(arrow))));
            }
        }
        offences
    }

    /// The circles of files in each folder, a line each.
    #[must_use]
    pub fn circle_offences(&self) -> Vec<String> {
        let mut offences = Vec::new();
        for (folder, (graph, shown)) in self.folders() {
            for knot in graph::knots(&graph) {
                if let Some(circle) = graph::circle(&graph, &knot) {
                    let next = circle.iter().cycle().skip(1);
                    let steps: Vec<String> = circle
                        .iter()
                        .zip(next)
                        .map(|pair| shown[&(pair.0.clone(), pair.1.clone())].clone())
                        .collect();
                    offences.push(format!(
                        "{folder}: a circle of {} files: {}",
                        circle.len(),
                        steps.join(", ")
                    ));
                }
            }
        }
        offences
    }

    /// For each module with submodules in one room: what its files have to do with each other.
    fn folders(&self) -> BTreeMap<String, Folder> {
        let mut folders: BTreeMap<String, Folder> = BTreeMap::new();
        for arrow in &self.arrows {
            let (from, to) = (names(&arrow.from.module), names(&arrow.to.module));
            let shared = from.iter().zip(&to).take_while(|(from, to)| from == to).count();
            // To import a module, or to show what is in it to others, is not to use it.
            if shared == 0 || arrow.to.name.is_empty() || arrow.kind == Kind::ReExport {
                continue;
            }
            let folder = from[..shared].join("::");
            let node = |names: &[&str]| {
                let node = names[..names.len().min(shared + 1)].join("::");
                // A module in its parent's file is no file.
                let file = self.source.file_of(&node);
                if file == self.source.file_of(&folder) { folder.clone() } else { node }
            };
            let (from, to) = (node(&from), node(&to));
            if from != to {
                let (graph, shown) = folders.entry(folder).or_default();
                graph.entry(from.clone()).or_default().insert(to.clone());
                shown.entry((from, to)).or_insert_with(|| self.show(arrow));
            }
        }
        folders
    }
}

fn names(module: &str) -> Vec<&str> {
    module.split("::").filter(|name| !name.is_empty()).collect()
}
