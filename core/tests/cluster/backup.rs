//! Backup managers and shared context attributes.

use std::time::Duration;

use folkmoot_core::cluster::{
    Access, Cluster, ClusterConfig, ClusterEvent, ContextId, ReplicatedContextConfig,
};
use folkmoot_core::map::{EntryState, MapState};
use folkmoot_core::session::{BackupManager, BackupManagerConfig, SessionId, TransferResult};

use crate::net::{Kind, Net, SHOP};

/// Nodes with a backup manager each, ready to serve.
pub(crate) fn started(kinds: &[Kind]) -> Net {
    let mut net = Net::new();
    for kind in kinds {
        join(&mut net, *kind);
    }
    net.run(Duration::from_secs(6));
    for node in 0..kinds.len() {
        assert_eq!(backup(&net, node).state(), MapState::Initialized);
        assert_eq!(backup(&net, node).members().count(), kinds.len() - 1);
    }
    net
}

pub(crate) fn join(net: &mut Net, kind: Kind) -> usize {
    let node = net.join_empty(kind, ClusterConfig::default());
    register(net, node);
    node
}

fn register(net: &mut Net, node: usize) {
    let config = BackupManagerConfig {
        jvm_route: Some(format!("n{node}")),
        ..BackupManagerConfig::default()
    };
    let cluster = &mut net.nodes[node].cluster;
    let context = cluster.register_backup_manager(net.now, SHOP, config);
    net.nodes[node].shop = Some(context.unwrap());
    net.settle();
}

pub(crate) fn backup(net: &Net, node: usize) -> &BackupManager {
    let context = net.context(node);
    net.nodes[node].cluster.backup_manager(context).unwrap()
}

pub(crate) fn role(net: &Net, node: usize, id: &SessionId) -> Option<EntryState> {
    backup(net, node).role(id)
}

/// What the living nodes have of a session, as letters.
pub(crate) fn roles(net: &Net, id: &SessionId) -> String {
    let alive = (0..net.nodes.len()).filter(|node| net.nodes[*node].alive);
    let letter = |node| match role(net, node, id) {
        Some(EntryState::Primary) => 'P',
        Some(EntryState::Backup) => 'B',
        Some(EntryState::Copy) => 'C',
        Some(EntryState::Proxy) => '-',
        None => '.',
    };
    alive.map(letter).collect()
}

pub(crate) fn sorted(roles: &str) -> String {
    let mut letters: Vec<char> = roles.chars().collect();
    letters.sort_unstable();
    letters.into_iter().collect()
}

pub(crate) fn node_with(net: &Net, id: &SessionId, state: EntryState) -> usize {
    let alive = (0..net.nodes.len()).filter(|node| net.nodes[*node].alive);
    let mut nodes = alive.filter(|node| role(net, *node, id) == Some(state));
    nodes.next().expect("a node in this role")
}

pub(crate) fn create(net: &mut Net, node: usize, attributes: &[(&str, &str)]) -> SessionId {
    net.command(node, |cluster, now, shop| {
        let id = cluster.create_session(now, shop, None).unwrap();
        for (name, value) in attributes {
            cluster
                .set_attribute(now, shop, &id, *name, *value)
                .unwrap();
        }
        cluster.request_completed(now, shop, &id).unwrap();
        cluster.end_access(now, shop, &id);
        id
    })
}

fn text(net: &Net, node: usize, id: &SessionId, name: &str) -> Option<String> {
    let value = backup(net, node)
        .session(id)?
        .attribute(name)?
        .as_string()?;
    Some(value.to_string())
}

/// A whole request that sets an attribute; what the session is there.
pub(crate) fn request(
    net: &mut Net,
    node: usize,
    id: &SessionId,
    name: &str,
    value: &str,
) -> Access {
    let begin = |cluster: &mut Cluster, now, shop: ContextId| cluster.access(now, shop, id);
    let first = net.command(node, begin);
    let access = match first {
        Access::Fetching => net.command(node, begin),
        other => other,
    };
    if access == Access::Here {
        net.command(node, |cluster, now, shop| {
            cluster.set_attribute(now, shop, id, name, value).unwrap();
            cluster.request_completed(now, shop, id).unwrap();
            cluster.end_access(now, shop, id);
        });
    }
    access
}

pub(crate) const MIXES: [[Kind; 3]; 3] = [
    [Kind::Ours; 3],
    [Kind::Foreign; 3],
    [Kind::Ours, Kind::Foreign, Kind::Ours],
];

#[test]
fn a_session_is_on_two_members_and_known_to_all() {
    for mix in MIXES {
        let mut net = started(&mix);
        let ids: Vec<_> = (0..3)
            .map(|node| create(&mut net, node, &[("a", "1")]))
            .collect();
        for (node, id) in ids.iter().enumerate() {
            assert_eq!(role(&net, node, id), Some(EntryState::Primary));
            assert_eq!(sorted(&roles(&net, id)), "-BP", "{}", roles(&net, id));
            let holder = node_with(&net, id, EntryState::Backup);
            assert_eq!(text(&net, holder, id, "a").as_deref(), Some("1"));
            request(&mut net, node, id, "a", "2");
            assert_eq!(text(&net, holder, id, "a").as_deref(), Some("2"));
            assert_eq!(sorted(&roles(&net, id)), "-BP", "nothing has moved");
        }
        let here: usize = (0..3).map(|node| backup(&net, node).session_count()).sum();
        assert_eq!(here, 6, "each on two of them");
        for node in 0..3 {
            let manager = backup(&net, node);
            assert_eq!(manager.session_count_full(), 3);
            assert_eq!(manager.session_ids_full().count(), 3);
            assert_eq!(manager.stats().refused, 0);
        }
    }
}

#[test]
fn whoever_is_asked_becomes_the_primary() {
    for mix in MIXES {
        let mut net = started(&mix);
        let id = create(&mut net, 0, &[("a", "1")]);
        // From a proxy: over the network. From a backup: at once.
        for state in [EntryState::Proxy, EntryState::Backup, EntryState::Proxy] {
            let node = node_with(&net, &id, state);
            net.events(node);
            let first = net.command(node, |cluster, now, shop| cluster.access(now, shop, &id));
            let fetched = state == EntryState::Proxy;
            assert_eq!(first == Access::Fetching, fetched);
            if fetched {
                let shop = net.context(node);
                let event = ClusterEvent::SessionFetched {
                    context: shop,
                    id: id.clone(),
                    found: true,
                };
                assert!(net.events(node).contains(&event));
            } else {
                net.command(node, |cluster, now, shop| {
                    cluster.end_access(now, shop, &id)
                });
            }
            let name = format!("at{node}");
            assert_eq!(request(&mut net, node, &id, &name, "here"), Access::Here);
            assert_eq!(role(&net, node, &id), Some(EntryState::Primary));
            assert_eq!(sorted(&roles(&net, &id)), "-BP", "{}", roles(&net, &id));
            for holder in [node, node_with(&net, &id, EntryState::Backup)] {
                assert_eq!(text(&net, holder, &id, "a").as_deref(), Some("1"));
                assert_eq!(text(&net, holder, &id, &name).as_deref(), Some("here"));
            }
        }
    }
}

#[test]
fn a_session_outlives_any_of_its_members() {
    for mix in MIXES {
        for state in [EntryState::Primary, EntryState::Backup, EntryState::Proxy] {
            let mut net = started(&mix);
            let ids: Vec<_> = (0..20)
                .map(|n| create(&mut net, n % 3, &[("a", "1")]))
                .collect();
            let id = &ids[0];
            let victim = node_with(&net, id, state);
            net.kill(victim);
            net.run(Duration::from_secs(6));
            for id in &ids {
                assert_eq!(
                    sorted(&roles(&net, id)),
                    "BP",
                    "{state:?}: {}",
                    roles(&net, id)
                );
            }
            for node in (0..3).filter(|node| *node != victim) {
                for id in &ids {
                    assert_eq!(text(&net, node, id, "a").as_deref(), Some("1"));
                }
            }
        }
    }
}

#[test]
fn one_who_joins_learns_of_all_sessions_and_takes_its_share() {
    let mut net = started(&[Kind::Ours]);
    let early = create(&mut net, 0, &[("a", "1")]);
    assert_eq!(roles(&net, &early), "P", "nobody to keep a backup");
    let second = join(&mut net, Kind::Foreign);
    net.run(Duration::from_secs(6));
    assert_eq!(roles(&net, &early), "PB", "given to the first who comes");
    assert_eq!(text(&net, second, &early, "a").as_deref(), Some("1"));
    let third = join(&mut net, Kind::Ours);
    net.run(Duration::from_secs(6));
    assert_eq!(roles(&net, &early), "PB-");
    let outcome = net.events(third).into_iter().find_map(|event| match event {
        ClusterEvent::StateTransfer { outcome, .. } => Some(outcome),
        _ => None,
    });
    let outcome = outcome.expect("the start has an end");
    assert_eq!(
        (outcome.result, outcome.sessions),
        (TransferResult::Complete, 1)
    );
    assert_eq!(request(&mut net, third, &early, "b", "2"), Access::Here);
    assert_eq!(sorted(&roles(&net, &early)), "-BP");
    assert_eq!(text(&net, third, &early, "a").as_deref(), Some("1"));
}

#[test]
fn an_id_changes_and_a_session_ends_everywhere() {
    for mix in MIXES {
        let mut net = started(&mix);
        let old = create(&mut net, 0, &[("a", "1")]);
        let new = net.command(0, |cluster, now, shop| {
            let new = old.with_jvm_route("n9");
            cluster
                .change_session_id(now, shop, &old, Some(&new))
                .unwrap()
        });
        assert_eq!(roles(&net, &old), "...");
        assert_eq!(sorted(&roles(&net, &new)), "-BP");
        let holder = node_with(&net, &new, EntryState::Backup);
        assert_eq!(text(&net, holder, &new, "a").as_deref(), Some("1"));
        assert_eq!(request(&mut net, 0, &new, "a", "2"), Access::Here);
        assert_eq!(text(&net, holder, &new, "a").as_deref(), Some("2"));
        let ended = net.command(0, |cluster, now, shop| {
            cluster.expire_session(now, shop, &new)
        });
        assert!(ended);
        assert_eq!(roles(&net, &new), "...");
        assert_eq!(request(&mut net, 1, &new, "a", "3"), Access::Absent);
    }
}

#[test]
fn what_was_changed_here_survives_that_another_member_takes_over() {
    let mut net = started(&[Kind::Ours; 3]);
    let id = create(&mut net, 0, &[("a", "1")]);
    // A request begins here and changes something; meanwhile another node serves a whole request.
    net.command(0, |cluster, now, shop| {
        assert!(cluster.access_session(now, shop, &id));
        cluster.set_attribute(now, shop, &id, "mine", "1").unwrap();
    });
    let other = node_with(&net, &id, EntryState::Proxy);
    assert_eq!(request(&mut net, other, &id, "theirs", "1"), Access::Here);
    net.command(0, |cluster, now, shop| {
        assert!(
            cluster.attribute(shop, &id, "mine").is_some(),
            "still at hand"
        );
        cluster.request_completed(now, shop, &id).unwrap();
        cluster.end_access(now, shop, &id);
    });
    net.run(Duration::from_secs(2));
    assert_eq!(sorted(&roles(&net, &id)), "-BP");
    for state in [EntryState::Primary, EntryState::Backup] {
        let node = node_with(&net, &id, state);
        for name in ["a", "mine", "theirs"] {
            assert_eq!(
                text(&net, node, &id, name).as_deref(),
                Some("1"),
                "{name} at {state:?}"
            );
        }
    }
}

#[test]
fn sessions_time_out_and_a_manager_can_be_removed() {
    let mut net = started(&[Kind::Ours; 3]);
    let id = create(&mut net, 0, &[]);
    net.command(0, |cluster, now, shop| {
        cluster
            .set_max_inactive_interval(now, shop, &id, 10)
            .unwrap();
        cluster.request_completed(now, shop, &id).unwrap();
    });
    let kept = create(&mut net, 0, &[("a", "1")]);
    net.run(Duration::from_secs(120));
    assert_eq!(roles(&net, &id), "...");
    let holder = node_with(&net, &kept, EntryState::Backup);
    let context = net.context(0);
    let now = net.now;
    assert!(net.nodes[0].cluster.unregister_manager(now, context));
    net.run(Duration::from_secs(3));
    assert_eq!(text(&net, holder, &kept, "a").as_deref(), Some("1"));
    let left: String = (1..3)
        .map(|node| match role(&net, node, &kept) {
            Some(EntryState::Primary) => 'P',
            Some(EntryState::Backup) => 'B',
            _ => '?',
        })
        .collect();
    assert_eq!(sorted(&left), "BP");
}

#[test]
fn context_attributes_are_the_same_everywhere() {
    for mix in MIXES {
        let mut net = Net::new();
        let mut contexts = Vec::new();
        let add = |net: &mut Net, contexts: &mut Vec<ContextId>, kind| {
            let node = net.join_empty(kind, ClusterConfig::default());
            let cluster = &mut net.nodes[node].cluster;
            let config = ReplicatedContextConfig::default();
            contexts.push(cluster.register_context(net.now, SHOP, config).unwrap());
            net.run(Duration::from_secs(6));
        };
        let seen = |net: &Net, contexts: &[ContextId], name: &str| -> Vec<Option<String>> {
            let value = |(node, context): (usize, &ContextId)| {
                let context = net.nodes[node].cluster.context(*context)?;
                Some(context.attribute(name)?.as_string()?.to_string())
            };
            contexts.iter().enumerate().map(value).collect()
        };
        add(&mut net, &mut contexts, mix[0]);
        add(&mut net, &mut contexts, mix[1]);
        let now = net.now;
        net.nodes[0]
            .cluster
            .set_context_attribute(now, contexts[0], "k", "1");
        net.settle();
        assert_eq!(
            seen(&net, &contexts, "k"),
            [Some("1".into()), Some("1".into())]
        );
        net.nodes[1]
            .cluster
            .set_context_attribute(now, contexts[1], "k", "2");
        net.settle();
        assert_eq!(
            seen(&net, &contexts, "k"),
            [Some("2".into()), Some("2".into())]
        );
        add(&mut net, &mut contexts, mix[2]);
        assert_eq!(
            seen(&net, &contexts, "k")[2],
            Some("2".into()),
            "with the state"
        );
        let now = net.now;
        net.nodes[2]
            .cluster
            .set_context_attribute(now, contexts[2], "k", "3");
        net.settle();
        assert_eq!(
            seen(&net, &contexts, "k"),
            [Some("3".into()), Some("3".into()), Some("3".into())]
        );
        net.kill(2);
        net.run(Duration::from_secs(6));
        net.nodes[0]
            .cluster
            .remove_context_attribute(net.now, contexts[0], "k");
        net.settle();
        assert_eq!(seen(&net, &contexts, "k")[..2], [None, None]);
    }
}

#[test]
fn a_member_without_the_application_is_no_node_of_the_map() {
    let mut net = Net::new();
    net.join_empty(Kind::Ours, ClusterConfig::default());
    join(&mut net, Kind::Ours);
    net.run(Duration::from_secs(3));
    assert_eq!(
        backup(&net, 1).state(),
        MapState::Initialized,
        "it waits for nobody"
    );
    assert_eq!(backup(&net, 1).members().count(), 0);
    let id = create(&mut net, 1, &[("a", "1")]);
    register(&mut net, 0);
    net.run(Duration::from_secs(3));
    assert_eq!(roles(&net, &id), "BP");
}
