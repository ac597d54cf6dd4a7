// SENTINEL and what else a sentinel answers in its own way, declared as the reference declares
// them. The handlers are in SentinelHandlers.swift.
import Engine

extension Extension {
    /// A sentinel's commands. Those that it shares with every node are registered elsewhere.
    static let sentinel = Extension("sentinel") { registry in
        registry.group = .sentinel
        registry.registerSentinelQueries()
        registry.registerSentinelChanges()
        registry.registerSentinelVariants()
    }
}

extension Registry {
    fileprivate mutating func registerSentinelQueries() {
        command(
            "sentinel", since: "2.8.4", arity: -2, [.admin, .sentinelOnly],
            summary: "A container for Sentinel commands",
            complexity: "Depends on subcommand."
        ) { _ in }

        command(
            "ckquorum", of: "sentinel", since: "2.8.4", arity: 3, [.admin, .sentinelOnly],
            syntax: "master-name",
            summary: "Check for a Sentinel quorum"
        ) { SentinelHandlers.checkQuorum(Call($0)) }

        command(
            "config", of: "sentinel", since: "6.2.0", arity: -3, [.admin, .sentinelOnly],
            syntax: """
            <set_or_get: SET <set_param_value: parameter value>...|GET parameter...>
            """,
            summary: "Configure Sentinel",
            complexity: "O(1)"
        ) { SentinelHandlers.config(Call($0)) }

        command(
            "debug", of: "sentinel", since: "7.0.0", arity: -2, [.admin, .sentinelOnly],
            syntax: "<parameter_value: parameter value>...",
            summary: "List or update the current configurable parameters",
            complexity: "O(N) where N is the number of configurable parameters"
        ) { SentinelHandlers.debug(Call($0)) }

        command(
            "failover", of: "sentinel", since: "2.8.4", arity: 3, [.admin, .sentinelOnly],
            syntax: "master-name",
            summary: "Force a failover"
        ) { SentinelHandlers.failover(Call($0)) }

        command(
            "flushconfig", of: "sentinel", since: "2.8.4", arity: 2, [.admin, .sentinelOnly],
            summary: "Rewrite configuration file",
            complexity: "O(1)"
        ) { SentinelHandlers.flush(Call($0)) }

        command(
            "get-master-addr-by-name", of: "sentinel", since: "2.8.4", arity: 3,
            [.admin, .sentinelOnly],
            syntax: "master-name",
            summary: "Get port and address of a master",
            complexity: "O(1)"
        ) { SentinelHandlers.address(Call($0)) }

        command(
            "help", of: "sentinel", since: "6.2.0", arity: 2, [.loading, .stale, .sentinelOnly],
            summary: "Show helpful text about the different subcommands",
            complexity: "O(1)"
        ) { SentinelHandlers.help(Call($0)) }

        command(
            "info-cache", of: "sentinel", since: "3.2.0", arity: -3, [.admin, .sentinelOnly],
            syntax: "nodename...",
            summary: "Get cached INFO from the instances in the deployment",
            complexity: "O(N) where N is the number of instances"
        ) { SentinelHandlers.infoCache(Call($0)) }

        command(
            "is-master-down-by-addr", of: "sentinel", since: "2.8.4", arity: 6,
            [.admin, .sentinelOnly],
            syntax: "ip port:integer current-epoch:integer runid",
            summary: "Check if a master is down",
            complexity: "O(1)"
        ) { SentinelHandlers.isPrimaryDown(Call($0)) }

        command(
            "master", of: "sentinel", since: "2.8.4", arity: 3, [.admin, .sentinelOnly],
            syntax: "master-name",
            summary: "Shows the state of a master",
            complexity: "O(1)"
        ) { SentinelHandlers.primary(Call($0)) }

        command(
            "masters", of: "sentinel", since: "2.8.4", arity: 2, [.admin, .sentinelOnly],
            summary: "List the monitored masters",
            complexity: "O(N) where N is the number of masters"
        ) { SentinelHandlers.primaries(Call($0)) }
    }

    fileprivate mutating func registerSentinelChanges() {
        command(
            "monitor", of: "sentinel", since: "2.8.4", arity: 6, [.admin, .sentinelOnly],
            syntax: "name ip port:integer quorum:integer",
            summary: "Start monitoring",
            complexity: "O(1)"
        ) { SentinelHandlers.monitor(Call($0)) }

        // Ours: the reference has no such command.
        command(
            "monitor-cluster", of: "sentinel", since: "7.2.0", arity: 6, [.admin, .sentinelOnly],
            syntax: "name ip port:integer quorum:integer",
            summary: "Start monitoring the shards of a cluster",
            complexity: "O(1)"
        ) { SentinelHandlers.monitorCluster(Call($0)) }

        command(
            "myid", of: "sentinel", since: "6.2.0", arity: 2, [.admin, .sentinelOnly],
            summary: "Get the Sentinel instance ID",
            complexity: "O(1)"
        ) { SentinelHandlers.identity(Call($0)) }

        command(
            "pending-scripts", of: "sentinel", since: "2.8.4", arity: 2, [.admin, .sentinelOnly],
            summary: "Get information about pending scripts"
        ) { SentinelHandlers.pendingScripts(Call($0)) }

        command(
            "remove", of: "sentinel", since: "2.8.4", arity: 3, [.admin, .sentinelOnly],
            syntax: "master-name",
            summary: "Stop monitoring",
            complexity: "O(1)"
        ) { SentinelHandlers.remove(Call($0)) }

        command(
            "replicas", of: "sentinel", since: "5.0.0", arity: 3, [.admin, .sentinelOnly],
            syntax: "master-name",
            summary: "List the monitored replicas",
            complexity: "O(N) where N is the number of replicas"
        ) { SentinelHandlers.replicas(Call($0)) }

        command(
            "reset", of: "sentinel", since: "2.8.4", arity: 3, [.admin, .sentinelOnly],
            syntax: "pattern:pattern",
            summary: "Reset masters by name pattern",
            complexity: "O(N) where N is the number of monitored masters"
        ) { SentinelHandlers.reset(Call($0)) }

        command(
            "sentinels", of: "sentinel", since: "2.8.4", arity: 3, [.admin, .sentinelOnly],
            syntax: "master-name",
            summary: "List the Sentinel instances",
            complexity: "O(N) where N is the number of Sentinels"
        ) { SentinelHandlers.sentinels(Call($0)) }

        command(
            "set", of: "sentinel", since: "2.8.4", arity: -5, [.admin, .sentinelOnly],
            syntax: "master-name <option_value: option value>...",
            summary: "Change the configuration of a monitored master",
            complexity: "O(1)"
        ) { SentinelHandlers.set(Call($0)) }

        command(
            "simulate-failure", of: "sentinel", since: "3.2.0", arity: -3, [.admin, .sentinelOnly],
            syntax: """
            [mode: \
            crash-after-election:pure-token|crash-after-promotion:pure-token|help:pure-token]...
            """,
            summary: "Simulate failover scenarios"
        ) { SentinelHandlers.simulateFailure(Call($0)) }

        command(
            "slaves", of: "sentinel", since: "2.8.0", arity: 3, [.admin, .sentinelOnly],
            syntax: "master-name",
            summary: "List the monitored slaves",
            complexity: "O(N) where N is the number of slaves",
            deprecated: "5.0.0 `SENTINEL REPLICAS`"
        ) { SentinelHandlers.replicas(Call($0)) }
    }

    /// INFO, ROLE and PUBLISH tell and take what a sentinel knows and needs.
    fileprivate mutating func registerSentinelVariants() {
        command(
            "info", since: "1.0.0", arity: -1, [.loading, .stale], acl: [.dangerous],
            syntax: "[section]...",
            summary: "Get information and statistics about the server",
            complexity: "O(1)",
            group: .server
        ) { SentinelHandlers.info(Call($0)) }

        command(
            "role", since: "2.8.12", arity: 1, [.noScript, .loading, .stale, .fast],
            acl: [.admin, .dangerous],
            summary: "Return the role of the instance in the context of replication",
            complexity: "O(1)",
            group: .server
        ) { SentinelHandlers.role(Call($0)) }

        command(
            "publish", since: "2.0.0", arity: 3, [.pubsub, .loading, .stale, .fast],
            syntax: "channel message",
            summary: "Post a message to a channel",
            complexity: "O(N)",
            group: .pubsub
        ) { SentinelHandlers.publish(Call($0)) }
    }
}
