//! Reads a tenant's programs and their rules by GraphQL. If a program has no refund rule, a reversal cancels no reward.
//! The vendor publishes no other way than GraphQL to read the rules of a program (`docs/vendor/program-rules.md`).
//!
//! Unreadable program rules are a result and not an error: the retraction continues, and the operator checks the rule
//! by hand.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::graphql::{AnswerWire, ErrorWire, Graph, Query, Refusal};
use super::loose_json::number;
use crate::error::{Kind, Result};
use crate::model::program_rule::RuledProgram;
use crate::vendor::Advocate;

const PROGRAMS: Query = Query::new(
    "query Programs($filter: ProgramFilterInput, $limit: Int!, $offset: Int!) { \
     programs(filter: $filter, limit: $limit, offset: $offset) { totalCount data { \
     id name status templateId rules lastActivatedDate } } }",
);

/// The number of programs in a page, and the maximum number of pages of programs.
const PAGE: u32 = 20;
const PAGES: u32 = 50;

/// The maximum number of attempts for a page of programs. A program rule is only supporting evidence. Therefore a long
/// wait for supporting evidence is not worthwhile.
const ATTEMPTS: u32 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Programs {
    /// Every requested program, each once.
    Read(Vec<RuledProgram>),
    NotReadable {
        /// Why recoup cannot read the programs, as a fragment of a sentence.
        why: String,
        /// Whether a later request for the programs may succeed, because only the host or the network failed.
        passes: bool,
    },
}

#[derive(Debug, PartialEq, Eq)]
struct ProgramPage {
    programs: Vec<RuledProgram>,
    rows: u64,
    total: Option<u64>,
}

impl Advocate {
    /// Reads the programs with these IDs, or every program of the tenant. A program that the vendor does not list
    /// counts as unreadable.
    ///
    /// # Errors
    /// Fails with `Interrupted`, `Parked`, `Credentials` or `Tenant`. Every other failure to read the programs is
    /// [`Programs::NotReadable`].
    pub async fn program_rules(&self, ids: Option<&[String]>) -> Result<Programs> {
        let filter = ids.map(|ids| json!({ "id_in": ids }));
        let mut found: Vec<RuledProgram> = Vec::new();
        let mut offset = 0;
        for _ in 0..PAGES {
            let variables = json!({ "filter": filter, "limit": PAGE, "offset": offset });
            let page = match self.graph("GraphQL programs", &PROGRAMS, variables, ATTEMPTS, program_page).await {
                Ok(Graph::Answer(page)) => page,
                Ok(Graph::Refused(refusal)) => return Ok(not_readable(why(refusal), false)),
                Err(error) if matches!(error.kind, Kind::Network | Kind::Vendor) => {
                    return Ok(not_readable(&error.message, true));
                }
                Err(error) => return Err(error),
            };
            offset += page.rows;
            let before = found.len();
            for program in page.programs {
                match found.iter_mut().find(|known| known.id == program.id) {
                    Some(known) if *known != program => {
                        *known = RuledProgram::unread(program.id, "the vendor lists it twice, with different rules");
                    }
                    Some(_) => {}
                    None => found.push(program),
                }
            }
            let is_end = match page.total {
                Some(total) => offset >= total,
                None => page.rows < u64::from(PAGE),
            };
            // If a server ignores the offset, it returns the same page each time. Therefore a page without new programs
            // ends the loop.
            if is_end || found.len() == before {
                return Ok(Programs::Read(requested(found, ids)));
            }
        }
        Ok(not_readable("the vendor lists more programs than recoup reads", false))
    }
}

/// Drops programs that recoup did not request, because the vendor's filter may be wrong, and adds an unreadable program
/// for each missing ID.
fn requested(found: Vec<RuledProgram>, ids: Option<&[String]>) -> Vec<RuledProgram> {
    let Some(ids) = ids else { return found };
    let of = |id: &String| {
        let program = found.iter().find(|program| program.id == *id).cloned();
        program.unwrap_or_else(|| RuledProgram::unread(id, "the vendor lists no program of this ID"))
    };
    ids.iter().map(of).collect()
}

fn not_readable(why: &str, passes: bool) -> Programs {
    Programs::NotReadable { why: why.to_owned(), passes }
}

fn why(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NoEndpoint => "this tenant has no GraphQL endpoint",
        Refusal::Schema => "the GraphQL schema in force does not have the rules of programs",
        Refusal::Scope => "the token may not read the rules of programs",
        Refusal::Unnamed => "the server answers the query with an error",
    }
}

#[derive(Deserialize)]
struct ProgramsData<'a> {
    #[serde(borrow, default)]
    programs: Option<ProgramsList<'a>>,
}

#[derive(Deserialize)]
struct ProgramsList<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    #[serde(borrow, default, rename = "totalCount")]
    total_count: Option<&'a RawValue>,
}

/// Parses one page of programs from GraphQL, or a refusal. Returns `None` for any other body. The client retries a
/// request if its answer cannot be decoded.
fn program_page(body: &[u8]) -> Option<Graph<ProgramPage>> {
    let answer: AnswerWire<'_, ProgramsData<'_>> = serde_json::from_slice(body).ok()?;
    let errors = answer.errors.unwrap_or_default();
    let Some(list) = answer.data.and_then(|data| data.programs) else {
        return errors.first().map(|error| Graph::Refused(error.refusal()));
    };
    // A GraphQL error without a row index may affect any program.
    if let Some(error) = errors.iter().find(|error| error.row().is_none()) {
        return Some(Graph::Refused(error.refusal()));
    }
    let rows = list.data.len() as u64;
    let refused = |row: usize| errors.iter().find(|error| error.row() == Some(row)).map(ErrorWire::refusal);
    let programs = list.data.into_iter().enumerate().filter_map(|(row, raw)| {
        let program = RuledProgram::of(raw.get())?;
        Some(match refused(row) {
            Some(refusal) => RuledProgram { name: program.name, ..RuledProgram::unread(program.id, why(refusal)) },
            None => program,
        })
    });
    let programs = programs.collect();
    Some(Graph::Answer(ProgramPage { programs, rows, total: number(list.total_count) }))
}
