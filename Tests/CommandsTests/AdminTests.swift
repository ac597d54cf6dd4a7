// CONFIG, INFO, DEBUG and CLIENT UNBLOCK on a whole node without a shell.
import Base
import Engine
import NodeCore
import Testing

private extension LoneNode {
    /// The fields of INFO.
    func info(_ sections: String...) -> [String: String] {
        var out: [String: String] = [:]
        for line in (run(["INFO"] + sections, on: session).text ?? "").split(separator: "\r\n") {
            let parts = line.split(
                separator: ":", maxSplits: 1, omittingEmptySubsequences: false
            ).map(String.init)
            if parts.count == 2 { out[parts[0]] = parts[1] }
        }
        return out
    }
}

@Suite struct AdminTests {
    // MARK: CONFIG

    @Test func configGetAndSet() {
        let admin = LoneNode()
        #expect(admin.run("CONFIG", "GET", "maxmemory") == .array(["maxmemory", "0"]))
        #expect(admin.run("CONFIG", "SET", "maxmemory", "10mb", "timeout", "5") == .ok)
        let both = admin.run("CONFIG", "GET", "maxmemory", "time*")
        #expect(both["maxmemory"] == "10485760" && both["timeout"] == "5")
        let alerts = admin.node.executor.pointee.alerts
        #expect(alerts.contains(.memoryLimited))
        #expect(
            admin.run("CONFIG", "SET", "timeout", "-1", "maxmemory", "0")
                == .error(
                    "ERR CONFIG SET failed (possibly related to argument 'timeout') - "
                        + "argument must be between 0 and 2147483647 inclusive"))
        #expect(admin.run("CONFIG", "GET", "maxmemory")["maxmemory"] == "10485760")
        #expect(admin.run("CONFIG", "SET", "maxmemory").isError)
        #expect(
            admin.run("CONFIG", "SET", "foo", "1")
                == .error("ERR Unknown option or number of arguments for CONFIG SET - 'foo'"))
        #expect(admin.run("CONFIG", "GET", "nothing*") == .array([]))
    }

    @Test func theProcessMayRefuse() {
        let admin = LoneNode()
        var asked: [[String]] = []
        admin.node.pointee.admin.applySettings = { names in
            asked.append(names)
            return ("port", "Unable to listen on this port. Check server logs.")
        }
        let reply = admin.run("CONFIG", "SET", "port", "7777", "timeout", "3")
        #expect(reply.text?.hasSuffix("Check server logs.") == true)
        #expect(asked == [["port"], ["port"]], "once to try, once to take it back")
        #expect(admin.run("CONFIG", "GET", "port")["port"] == "6379")
        #expect(admin.run("CONFIG", "GET", "timeout")["timeout"] == "0")
    }

    @Test func rewriteNeedsAFile() {
        let admin = LoneNode()
        #expect(
            admin.run("CONFIG", "REWRITE")
                == .error("ERR The server is running without a config file"))
        admin.node.pointee.configPath = "/etc/redis.conf"
        admin.node.pointee.configText = Array("port 6379\n".utf8)
        admin.run("CONFIG", "SET", "timeout", "9")
        #expect(admin.run("CONFIG", "REWRITE") == .error("NOREPLY"))
        #expect(admin.session.pointee.flags.contains(.blocked))
        let contents = admin.node.pointee.configText
        let text = String(decoding: contents, as: UTF8.self)
        #expect(text.contains("timeout 9"))
    }

    // MARK: INFO

    @Test func infoHasItsSections() {
        let admin = LoneNode()
        admin.run("PING")
        admin.run("NOSUCH")
        let all = admin.info("everything")
        #expect(all["redis_version"] == "7.0.15" && all["redis_mode"] == "standalone")
        #expect(all["role"] == "master" && all["connected_slaves"] == "0")
        #expect(all["errorstat_ERR"] == "count=1")
        #expect(all["cmdstat_ping"]?.hasPrefix("calls=1,usec=") == true)
        #expect(all["latency_percentiles_usec_ping"]?.hasPrefix("p50=") == true)
        #expect(all["maxmemory_policy"] == "noeviction" && all["cluster_enabled"] == "0")
        let standard = admin.info()
        #expect(standard["cmdstat_ping"] == nil && standard["used_memory"] != nil)
        #expect(admin.info("commandstats", "KEYSPACE")["used_memory"] == nil)
        #expect(admin.run("INFO", "nothing") == "")
        let text = admin.run("INFO").text ?? ""
        #expect(text.hasPrefix("# Server\r\n") && text.contains("\r\n\r\n# Clients\r\n"))
    }

    /// Every field that the reference prints on an idle primary, by section.
    @Test func noFieldIsMissing() {
        let names = """
            run_id tcp_port uptime_in_seconds lru_clock configured_hz executable config_file
            connected_clients cluster_connections maxclients blocked_clients tracking_clients
            used_memory used_memory_human used_memory_rss used_memory_peak_perc
            used_memory_overhead used_memory_startup used_memory_dataset_perc allocator_active
            used_memory_lua used_memory_vm_total_human maxmemory_human allocator_frag_ratio
            allocator_rss_bytes rss_overhead_ratio mem_fragmentation_ratio
            mem_not_counted_for_evict mem_total_replication_buffers mem_clients_slaves
            mem_cluster_links lazyfree_pending_objects lazyfreed_objects
            loading async_loading current_cow_size current_fork_perc rdb_bgsave_in_progress
            rdb_last_bgsave_status rdb_saves aof_enabled aof_last_cow_size
            total_connections_received instantaneous_ops_per_sec total_net_repl_output_bytes
            instantaneous_output_repl_kbps sync_full sync_partial_err expired_stale_perc
            evicted_clients keyspace_misses latest_fork_usec migrate_cached_sockets
            total_error_replies dump_payload_sanitizations total_writes_processed
            master_failover_state master_replid master_replid2 repl_backlog_histlen
            used_cpu_user_main_thread cluster_enabled lost_write_commands
            """.split { " \n".contains($0) }
        let info = LoneNode().info("all")
        for name in names { #expect(info[String(name)] != nil, "\(name)") }
    }

    @Test func countersStartOver() {
        let admin = LoneNode()
        for _ in 0..<3 { admin.run("PING") }
        admin.run("GET", "missing")
        admin.run("NOSUCH")
        #expect(admin.info("stats")["keyspace_misses"] == "1")
        #expect(admin.run("CONFIG", "RESETSTAT") == .ok)
        let after = admin.info("all")
        #expect(after["keyspace_misses"] == "0" && after["errorstat_ERR"] == nil)
        #expect(after["cmdstat_ping"] == nil)
    }

    @Test func ratesAreMeans() {
        var samples = Samples()
        var stats = Stats()
        for step in 0...16 {
            stats.commandsProcessed = Int64(step) * 50
            samples.take(stats, at: Instant(microseconds: Int64(step) * 100_000))
        }
        #expect(samples.means.commands == 500)
        samples.take(stats, at: Instant(microseconds: 1_650_000))
        #expect(samples.means.commands == 500, "too early for another sample")
    }

    /// Two digits are exact, as in the reference's histograms.
    @Test func percentilesAreNeverTooSmall() {
        var times = CommandTimes()
        defer { times.free() }
        #expect(times.isEmpty && times.percentile(50) == 0)
        for _ in 0..<99 { times.add(1000) }
        times.add(50_000)
        #expect(times.percentile(50) == 1003)
        #expect(times.percentile(99) == 1003 && times.percentile(0) == 1000)
        #expect(times.percentile(100) == 50_175)
        times.add(.max)
        #expect(times.percentile(100) == 1_002_438_655)
        times.free()
        #expect(times.isEmpty && times.count == 0)
    }

    @Test func eachTimeIsWithinOneInAHundred() {
        var prng = Prng(seed: 7)
        for _ in 0..<2000 {
            var times = CommandTimes()
            let exact = UInt64(prng.below(1 << (1 + prng.below(29))))
            times.add(exact)
            let shown = UInt64(times.percentile(50))
            #expect(shown >= exact && shown - exact <= exact / 128)
            times.free()
        }
    }

    // MARK: DEBUG

    @Test func debugIsGuarded() {
        let admin = LoneNode { $0.enableDebugCommand = "local" }
        #expect(admin.run("DEBUG", "HELP").text?.hasPrefix("ERR DEBUG command not allowed") == true)
        admin.session.pointee.peerAddress = "127.0.0.1:4000"
        #expect(!admin.run("DEBUG", "HELP").isError)
        #expect(
            admin.run("DEBUG", "NOPE")
                == .error(
                    "ERR unknown subcommand or wrong number of arguments for 'NOPE'. "
                        + "Try DEBUG HELP."))
    }

    @Test func reloadKeepsTheData() {
        let admin = LoneNode()
        admin.run("SET", "a", "12")
        admin.run("SET", "b", "text", "PX", "100000")
        admin.run("RPUSH", "l", "x", "y", "5")
        admin.run("PEXPIRE", "l", "100000")
        admin.run("DEBUG", "POPULATE", "100", "k", "30")
        let digest = admin.run("DEBUG", "DIGEST")
        #expect(digest.text?.count == 40)
        #expect(admin.run("DEBUG", "RELOAD") == .ok)
        #expect(admin.run("DEBUG", "DIGEST") == digest)
        #expect(admin.run("DBSIZE") == 103)
        #expect(admin.run("GET", "a") == "12")
        #expect(admin.run("LRANGE", "l", "0", "-1") == .array(["x", "y", "5"]))
        #expect((admin.run("PTTL", "b").integer ?? 0) > 0)
        #expect(admin.run("DEBUG", "RELOAD", "BAD").isError)
        #expect(admin.run("DEBUG", "RELOAD", "NOSAVE").isError)
        #expect(admin.run("STRLEN", "k:7") == 30)
    }

    @Test func debugLooksIntoKeys() {
        let admin = LoneNode()
        admin.run("SET", "n", "5")
        #expect(admin.run("DEBUG", "OBJECT", "n").text?.contains("encoding:int") == true)
        #expect(admin.run("DEBUG", "OBJECT", "none") == .error("ERR no such key"))
        #expect(admin.run("DEBUG", "DIGEST-VALUE", "n", "none").elements.count == 2)
        #expect(admin.run("DEBUG", "SET-ACTIVE-EXPIRE", "0") == .ok)
        let expires = admin.node.executor.pointee.activeExpire
        #expect(!expires)
        #expect(admin.run("DEBUG", "STRINGMATCH-LEN", "a*c", "abc") == 1)
        #expect(admin.run("DEBUG", "ERROR", "MYERR text") == .error("MYERR text"))
        #expect(admin.run("DEBUG", "LOG", "hello") == .ok)
    }

    @Test(arguments: [
        "string", "integer", "double", "bignum", "null", "array", "set", "map", "attrib",
        "verbatim", "true", "false",
    ])
    func everyReplyType(type: String) {
        let admin = LoneNode()
        #expect(!admin.run("DEBUG", "PROTOCOL", type).isError)
        admin.run("HELLO", "3")
        #expect(!admin.run("DEBUG", "PROTOCOL", type).isError || type == "attrib")
    }

    // MARK: CLIENT UNBLOCK

    @Test func waitersCanBeUnblocked() {
        let admin = LoneNode()
        let waiter = admin.connect()
        #expect(admin.run(["WAIT", "1", "0"], on: waiter) == .error("NOREPLY"))
        let id = "\(waiter.pointee.id)"
        #expect(admin.run("CLIENT", "UNBLOCK", id, "ERROR") == 1)
        #expect(
            admin.answers(waiter)
                == [.error("UNBLOCKED client unblocked via CLIENT UNBLOCK")])
        #expect(admin.run("CLIENT", "UNBLOCK", id) == 0)
        admin.run(["WAIT", "1", "0"], on: waiter)
        #expect(admin.run("CLIENT", "UNBLOCK", id) == 1)
        #expect(admin.answers(waiter) == [0])
    }

    @Test func renamedCommandsAreGone() {
        let admin = LoneNode()
        let table = admin.node.executor.pointee.commands
        let isRemoved = table.pointee.rename(Bytes("flushall"), to: .empty)
        let isRenamed = table.pointee.rename(Bytes("ping"), to: Bytes("pong"))
        #expect(isRemoved && isRenamed)
        #expect(admin.run("FLUSHALL").text?.hasPrefix("ERR unknown command") == true)
        #expect(admin.run("PONG") == .simple("PONG"))
        #expect(admin.run("PING").isError)
    }
}
