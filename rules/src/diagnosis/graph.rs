//! Who calls whom: the services that a symptom can have caught something from.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::inquiry::Inquiry;
use super::reading::within;
use crate::error::RulesError;
use crate::time::Window;

/// The calls between services in some window.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    callees: BTreeMap<String, BTreeSet<String>>,
    callers: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    pub(crate) async fn load(inquiry: &Inquiry<'_>, window: Window) -> Result<Self, RulesError> {
        let sql = format!(
            "SELECT DISTINCT client_service, server_service FROM edge_minutes\nWHERE {} AND client_service <> '' AND client_service <> server_service AND (source IS DISTINCT FROM 'metrics')\nORDER BY client_service, server_service",
            within("time", window)
        );
        let rows = inquiry.rows("the calls between services", &sql).await?;
        let clients = rows.texts("client_service")?;
        Ok(Self::new(clients.into_iter().zip(rows.texts("server_service")?)))
    }

    pub(crate) fn new(calls: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut graph = Self::default();
        for (client, server) in calls {
            graph.callees.entry(client.clone()).or_default().insert(server.clone());
            graph.callers.entry(server).or_default().insert(client);
        }
        graph
    }

    /// The service itself and all that it calls, directly or not, with the number of calls between.
    pub(crate) fn downstream(&self, service: &str) -> BTreeMap<String, usize> {
        distances(&self.callees, service)
    }

    /// The service itself and all that call it, directly or not.
    pub(crate) fn upstream(&self, service: &str) -> BTreeMap<String, usize> {
        distances(&self.callers, service)
    }
}

fn distances(next: &BTreeMap<String, BTreeSet<String>>, start: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::from([(start.to_owned(), 0)]);
    let mut queue = VecDeque::from([(start.to_owned(), 0)]);
    while let Some((service, distance)) = queue.pop_front() {
        for other in next.get(&service).into_iter().flatten() {
            if !found.contains_key(other) {
                found.insert(other.clone(), distance + 1);
                queue.push_back((other.clone(), distance + 1));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::Graph;

    #[test]
    fn distances_follow_the_calls_even_around_a_circle() {
        let calls = [("web", "shop"), ("shop", "stock"), ("stock", "db"), ("stock", "shop")];
        let graph = Graph::new(calls.map(|(a, b)| (a.to_owned(), b.to_owned())));
        let down = graph.downstream("shop");
        assert_eq!(
            down.into_iter().collect::<Vec<_>>(),
            [("db".to_owned(), 2), ("shop".to_owned(), 0), ("stock".to_owned(), 1)]
        );
        let up = graph.upstream("shop");
        assert_eq!(
            up.into_iter().collect::<Vec<_>>(),
            [("shop".to_owned(), 0), ("stock".to_owned(), 1), ("web".to_owned(), 1)]
        );
    }
}
