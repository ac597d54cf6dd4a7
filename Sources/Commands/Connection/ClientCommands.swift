// The declarations of CLIENT and its subcommands; the handlers are in the files beside.
import Engine

extension Registry {
    mutating func registerClientCommands() {
        registerClientBasics()
        registerClientControl()
        registerClientTracking()
    }

    private mutating func registerClientBasics() {
        command(
            "client", since: "2.4.0", arity: -2,
            summary: "A container for client connection commands",
            complexity: "Depends on subcommand."
        ) { _ in }

        command(
            "getname", of: "client", since: "2.6.9", arity: 2, [.noScript, .loading, .stale],
            acl: [.connection],
            summary: "Get the current connection name",
            complexity: "O(1)"
        ) { clientGetName(Call($0)) }

        command(
            "help", of: "client", since: "5.0.0", arity: 2, [.loading, .stale], acl: [.connection],
            summary: "Show helpful text about the different subcommands",
            complexity: "O(1)"
        ) { clientHelp(Call($0)) }

        command(
            "id", of: "client", since: "5.0.0", arity: 2, [.noScript, .loading, .stale],
            acl: [.connection],
            summary: "Returns the client ID for the current connection",
            complexity: "O(1)"
        ) { clientID(Call($0)) }

        command(
            "info", of: "client", since: "6.2.0", arity: 2, [.noScript, .loading, .stale],
            acl: [.connection],
            summary: "Returns information about the current client connection.",
            complexity: "O(1)",
            tips: "nondeterministic_output"
        ) { clientInfo(Call($0)) }

        command(
            "list", of: "client", since: "2.4.0", arity: -2, [.admin, .noScript, .loading, .stale],
            acl: [.connection],
            syntax: """
            [TYPE <normal_master_replica_pubsub: \
            NORMAL|MASTER|REPLICA|PUBSUB>]{5.0.0} [ID <id: \
            client-id:integer...>]{6.2.0}
            """,
            summary: "Get the list of client connections",
            complexity: "O(N) where N is the number of client connections",
            history: """
            2.8.12 Added unique client `id` field.
            5.0.0 Added optional `TYPE` filter.
            6.0.0 Added `user` field.
            6.2.0 Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` \
            filter.
            7.0.0 Added `resp`, `multi-mem`, `rbs` and `rbp` fields.
            7.0.3 Added `ssub` field.
            """,
            tips: "nondeterministic_output"
        ) { clientList(Call($0)) }

        command(
            "setname", of: "client", since: "2.6.9", arity: 3, [.noScript, .loading, .stale],
            acl: [.connection],
            syntax: "connection-name",
            summary: "Set the current connection name",
            complexity: "O(1)"
        ) { clientSetName(Call($0)) }

        command(
            "setinfo", of: "client", since: "7.2.0", arity: 4, [.noScript, .loading, .stale],
            acl: [.connection],
            syntax: "<attr: LIB-NAME libname|LIB-VER libver>",
            summary: "Sets information specific to the client or connection.",
            complexity: "O(1)",
            tips: """
            request_policy:all_nodes
            response_policy:all_succeeded
            """
        ) { clientSetInfo(Call($0)) }
    }

    private mutating func registerClientControl() {
        command(
            "kill", of: "client", since: "2.4.0", arity: -3, [.admin, .noScript, .loading, .stale],
            acl: [.connection],
            syntax: """
            <filter: ip:port:string{-2.8.12}|<new-format: [ID client-id:integer]{2.8.12}|[TYPE \
            <normal_master_slave_pubsub: \
            NORMAL|MASTER{3.2.0}|SLAVE|REPLICA{5.0.0}|\
            PUBSUB>]{2.8.12}|[USER \
            username]|[ADDR ip:port:string]|[LADDR ip:port:string]{6.2.0}|[SKIPME yes/no]>...>
            """,
            summary: "Kill the connection of a client",
            complexity: "O(N) where N is the number of client connections",
            history: """
            2.8.12 Added new filter format.
            2.8.12 `ID` option.
            3.2.0 Added `master` type in for `TYPE` option.
            5.0.0 Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward \
            compatibility.
            6.2.0 `LADDR` option.
            """
        ) { clientKill(Call($0)) }

        command(
            "min-replicas-ack", of: "client", since: "1.0.0", arity: -2,
            [.noScript, .loading, .stale], acl: [.connection],
            syntax: "[count: numreplicas:integer|DEFAULT]",
            summary: """
            Sets how many replicas must acknowledge a write before its reply is sent.
            """,
            complexity: "O(1)"
        ) { clientMinReplicasAck(Call($0)) }

        command(
            "no-evict", of: "client", since: "7.0.0", arity: 3,
            [.admin, .noScript, .loading, .stale], acl: [.connection],
            syntax: "<enabled: ON|OFF>",
            summary: "Set client eviction mode for the current connection",
            complexity: "O(1)"
        ) { clientNoEvict(Call($0)) }

        command(
            "no-touch", of: "client", since: "7.2.0", arity: 3, [.noScript, .loading, .stale],
            acl: [.connection],
            syntax: "<enabled: ON|OFF>",
            summary: """
            Controls whether commands sent by the client affect the LRU/LFU of accessed keys.
            """,
            complexity: "O(1)"
        ) { clientNoTouch(Call($0)) }

        command(
            "pause", of: "client", since: "2.9.50", arity: -3,
            [.admin, .noScript, .loading, .stale], acl: [.connection],
            syntax: "timeout:integer [mode: WRITE|ALL]{6.2.0}",
            summary: "Stop processing commands from clients for some time",
            complexity: "O(1)",
            history: "6.2.0 `CLIENT PAUSE WRITE` mode added along with the `mode` option."
        ) { clientPause(Call($0)) }

        command(
            "reply", of: "client", since: "3.2.0", arity: 3, [.noScript, .loading, .stale],
            acl: [.connection],
            syntax: "<on_off_skip: ON|OFF|SKIP>",
            summary: "Instruct the server whether to reply to commands",
            complexity: "O(1)"
        ) { clientReply(Call($0)) }

        command(
            "unpause", of: "client", since: "6.2.0", arity: 2,
            [.admin, .noScript, .loading, .stale], acl: [.connection],
            summary: "Resume processing of clients that were paused",
            complexity: "O(N) Where N is the number of paused clients"
        ) { clientUnpause(Call($0)) }
    }

    private mutating func registerClientTracking() {
        command(
            "caching", of: "client", since: "6.0.0", arity: 3, [.noScript, .loading, .stale],
            acl: [.connection],
            syntax: "<mode: YES|NO>",
            summary: "Instruct the server about tracking or not keys in the next request",
            complexity: "O(1)"
        ) { clientCaching(Call($0)) }

        command(
            "tracking", of: "client", since: "6.0.0", arity: -3, [.noScript, .loading, .stale],
            acl: [.connection],
            syntax: """
            <status: ON|OFF> [REDIRECT client-id:integer] [PREFIX... prefix] [BCAST] \
            [OPTIN] [OPTOUT] [NOLOOP]
            """,
            summary: "Enable or disable server assisted client side caching support",
            complexity: "O(1). Some options may introduce additional complexity."
        ) { clientTracking(Call($0)) }

        command(
            "getredir", of: "client", since: "6.0.0", arity: 2, [.noScript, .loading, .stale],
            acl: [.connection],
            summary: "Get tracking notifications redirection client ID if any",
            complexity: "O(1)"
        ) { clientGetRedirection(Call($0)) }

        command(
            "trackinginfo", of: "client", since: "6.2.0", arity: 2, [.noScript, .loading, .stale],
            acl: [.connection],
            summary: """
            Return information about server assisted client side caching for the current \
            connection
            """,
            complexity: "O(1)"
        ) { clientTrackingInfo(Call($0)) }
    }
}
