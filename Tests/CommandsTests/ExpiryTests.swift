// Time to live, in process: the four forms of EXPIRE with their conditions, what expired keys look
// like to a primary's and a replica's clients.
import Base
import Engine
import Storage
import Testing

@Suite struct ExpiryTests {
    @Test func formsOfExpire() {
        let server = CommandHarness()
        check(
            [
                ("EXPIRE k 10", 0), ("TTL k", -2), ("PTTL k", -2), ("EXPIRETIME k", -2),
                ("SET k v", .ok), ("TTL k", -1), ("EXPIRETIME k", -1), ("EXPIRE k 10", 1),
                ("TTL k", 10), ("PTTL k", 10_000), ("EXPIRETIME k", 1_700_000_010),
                ("PEXPIRETIME k", 1_700_000_010_000), ("PEXPIRE k 1499", 1), ("TTL k", 1),
                ("PEXPIRE k 1500", 1), ("TTL k", 2), ("EXPIREAT k 1700000100", 1), ("TTL k", 100),
                ("PEXPIREAT k 1700000000500", 1), ("PTTL k", 500), ("PERSIST k", 1),
                ("PERSIST k", 0), ("PERSIST none", 0), ("TTL k", -1),
            ], on: server)
    }

    @Test func timesThatAreNone() {
        check([
            ("SET k v", .ok), ("EXPIRE k x", notInteger), ("EXPIRE k 1.5", notInteger),
            ("EXPIRE k 9223372036854775807", invalidExpire("expire")),
            ("EXPIRE k -9223372036854775808", invalidExpire("expire")),
            ("PEXPIRE k 9223372036854775807", invalidExpire("pexpire")),
            ("EXPIREAT k 9223372036854776", invalidExpire("expireat")),
            ("PEXPIREAT k 9223372036854775807", 1), ("PEXPIRE k -5", 1), ("EXISTS k", 0),
            ("SET k v", .ok), ("EXPIRE k 0", 1), ("EXISTS k", 0), ("SET k v", .ok),
            ("EXPIREAT k 1", 1), ("EXISTS k", 0),
        ])
    }

    @Test func conditions() {
        let incompatible = Reply.error(
            "ERR NX and XX, GT or LT options at the same time are not compatible")
        check([
            ("SET k v", .ok), ("EXPIRE k 10 XX", 0), ("EXPIRE k 10 GT", 0), ("TTL k", -1),
            ("EXPIRE k 10 LT", 1), ("EXPIRE k 20 NX", 0), ("EXPIRE k 5 GT", 0),
            ("EXPIRE k 10 GT", 0), ("EXPIRE k 11 gt", 1), ("EXPIRE k 12 LT", 0),
            ("EXPIRE k 11 LT", 0), ("EXPIRE k 9 lt xx", 1), ("TTL k", 9), ("EXPIRE k 30 XX GT", 1),
            ("PERSIST k", 1), ("EXPIRE k 5 NX", 1), ("EXPIRE k 5 NX XX", incompatible),
            ("EXPIRE k 5 NX GT", incompatible), ("EXPIRE k 5 LT NX", incompatible),
            (
                "EXPIRE k 5 GT LT",
                .error("ERR GT and LT options at the same time are not compatible")
            ),
            ("EXPIRE k 5 nope", .error("ERR Unsupported option nope")),
            ("EXPIRE none x nope", .error("ERR Unsupported option nope")),
            ("EXPIRE none 5 NX", 0),
        ])
    }

    @Test func expiredKeysAreGone() {
        let server = CommandHarness()
        for command in [
            ["GET", "k"], ["EXISTS", "k"], ["TTL", "k"], ["TYPE", "k"], ["DEL", "k"],
            ["INCR", "k"], ["APPEND", "k", "x"], ["SETNX", "k", "x"], ["RENAME", "k", "j"],
            ["EXPIRE", "k", "5"], ["SETRANGE", "k", "0", "x"], ["SET", "k", "w"],
            ["MGET", "k"], ["GETDEL", "k"], ["PERSIST", "k"], ["COPY", "k", "j"],
            ["SET", "k", "w", "KEEPTTL"], ["MSET", "k", "x"], ["GETEX", "k", "PERSIST"],
        ] {
            let fresh = CommandHarness()
            let expected = fresh.run(command)
            server.run("SET", "k", "100", "PX", "5")
            server.advance(milliseconds: 6)
            let before = server.executor.pointee.stats.expiredKeys
            #expect(server.run(command) == expected, "\(command)")
            #expect(server.executor.pointee.stats.expiredKeys == before + 1, "\(command)")
            #expect(server.run("TTL", "k") == fresh.run("TTL", "k"), "\(command)")
            server.run("DEL", "k", "j")
        }
    }

    @Test func replicasHideWhatTheirPrimaryMustDelete() {
        let server = CommandHarness()
        server.run("SET", "k", "v", "PX", "5")
        server.executor.pointee.alerts.insert(.isReplica)
        server.advance(milliseconds: 6)
        for (line, expected) in [
            (["GET", "k"], .null), (["EXISTS", "k"], 0), (["TTL", "k"], -2),
            (["MGET", "k"], [.null]), (["KEYS", "*"], []),
            (["SCAN", "0"], ["0", []]),
        ] as [([String], Reply)] {
            #expect(server.run(line) == expected, "\(line)")
        }
        #expect(server.keyspace.count(database: 0) == 1)
        // The primary's own commands see the key: to it, it was alive.
        let primary = server.connect()
        primary.pointee.flags.insert([.fromPrimary, .authenticated])
        server.run(["APPEND", "k", "w"], on: primary)
        server.run(["PEXPIREAT", "k", "1"], on: primary)
        #expect(server.keyspace.count(database: 0) == 1, "a past deadline is kept, not obeyed")
        server.run(["DEL", "k"], on: primary)
        #expect(server.keyspace.count(database: 0) == 0)
    }

    @Test func writableReplicasDropWhatIsHidden() {
        let server = CommandHarness()
        server.run("SET", "k", "value", "PX", "5")
        server.executor.pointee.alerts.insert(.isReplica)
        server.advance(milliseconds: 6)
        #expect(server.run("SETRANGE", "k", "1", "x") == 2)
        #expect(server.run("GET", "k") == "\0x")
        #expect(server.run("TTL", "k") == -1)
    }
}
