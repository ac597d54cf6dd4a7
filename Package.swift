// swift-tools-version: 6.2
// Martlet: a Redis-compatible clustered in-memory store. The order of the targets below is the
// order of the layers; `Tests/TidyTests` checks that nothing imports upward.
import PackageDescription

/// What lets a few-line function of one target become part of its caller in another: optimised
/// builds hand on the bodies of all functions up to this size, not only of the smallest. It takes
/// a fifth off the instructions of a command, and needs no annotation in the sources.
let inlining: SwiftSetting = .unsafeFlags(
    ["-cross-module-optimization", "-Xllvm", "-cmo-function-size-limit=400"],
    .when(configuration: .release))

let strict: [SwiftSetting] = [
    inlining,
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]
/// For the machines that decide and never touch memory by hand: the compiler proves it.
let pure: [SwiftSetting] = strict + [.strictMemorySafety()]

let package = Package(
    name: "martlet",
    products: [
        .executable(name: "martlet-server", targets: ["ClusterNode"]),
        .executable(name: "martlet-sentinel", targets: ["SentinelNode"]),
    ],
    targets: [
        // Headers of the C library that Swift cannot import by itself.
        .systemLibrary(name: "CLinux"),
        // Hashes of passwords. The scripts install it where it is missing.
        .systemLibrary(name: "COpenSSL", providers: [.apt(["libssl-dev"])]),
        // Lua 5.1 behind functions that no error of a script unwinds across; linked statically, so
        // that the binary needs nothing of it where it runs.
        .target(
            name: "CLua",
            cSettings: [
                .unsafeFlags(["-I/usr/include/lua5.1", "-Wall", "-Werror", "-O2"])
            ],
            linkerSettings: [
                .linkedLibrary(":liblua5.1-cjson.a"), .linkedLibrary(":liblua5.1-bitop.a"),
                .linkedLibrary(":liblua5.1.a"), .linkedLibrary("m"),
            ]),
        // Bytes and structures.
        // The archive, not the shared library: a few kilobytes of code in place of half a megabyte
        // that the loader writes to in every process, and nothing more to install on a server.
        .target(
            name: "Base", dependencies: ["CLinux", "COpenSSL"], swiftSettings: strict,
            linkerSettings: [.linkedLibrary(":libcrypto.a")]),
        .target(name: "HashSlots", dependencies: ["Base"], swiftSettings: pure),
        .target(name: "RESP", dependencies: ["Base"], swiftSettings: strict),
        .target(name: "Storage", dependencies: ["Base", "HashSlots"], swiftSettings: strict),
        .target(
            name: "Persistence", dependencies: ["Base", "RESP", "Storage"], swiftSettings: strict),
        // Pure machines: no I/O, no unsafe code.
        .target(name: "Replication", dependencies: ["Base"], swiftSettings: pure),
        .target(name: "Gossip", dependencies: ["Base", "HashSlots"], swiftSettings: pure),
        .target(name: "Sentinel", dependencies: ["Base"], swiftSettings: pure),
        // Execution.
        .target(
            name: "Engine",
            dependencies: ["Base", "HashSlots", "RESP", "Storage", "Replication", "Persistence"],
            swiftSettings: strict),
        .target(
            name: "Commands",
            dependencies: ["Base", "HashSlots", "RESP", "Storage", "Persistence", "Engine"],
            swiftSettings: strict),
        .target(
            name: "Scripting",
            dependencies: [
                "CLua", "Base", "HashSlots", "RESP", "Storage", "Persistence", "Engine",
            ],
            swiftSettings: strict),
        // One node, deterministic, no I/O.
        .target(
            name: "NodeCore",
            dependencies: [
                "Base", "HashSlots", "RESP", "Storage", "Persistence", "Replication", "Gossip",
                "Engine", "Commands", "Scripting",
            ],
            swiftSettings: strict),
        // The two ways to drive a node: real sockets and files, or a simulated world.
        .target(
            name: "Server",
            dependencies: [
                "CLinux", "Base", "HashSlots", "RESP", "Persistence", "Gossip", "Sentinel",
                "Engine", "NodeCore",
            ],
            swiftSettings: strict),
        .target(
            name: "Simulator",
            dependencies: [
                "Base", "HashSlots", "RESP", "Storage", "Gossip", "Replication", "Engine",
                "NodeCore", "Sentinel",
            ],
            swiftSettings: strict),
        .executableTarget(name: "ClusterNode", dependencies: ["Server"], swiftSettings: strict),
        .executableTarget(name: "SentinelNode", dependencies: ["Server"], swiftSettings: strict),
        .executableTarget(name: "simulate", dependencies: ["Simulator", "Base"], swiftSettings: strict),
        // Tests, beside each target.
        .testTarget(name: "BaseTests", dependencies: ["Base"], swiftSettings: strict),
        .testTarget(name: "HashSlotsTests", dependencies: ["HashSlots"], swiftSettings: strict),
        .testTarget(name: "RESPTests", dependencies: ["RESP"], swiftSettings: strict),
        .testTarget(
            name: "StorageTests", dependencies: ["Storage", "HashSlots", "Base"],
            swiftSettings: strict),
        .testTarget(
            name: "PersistenceTests", dependencies: ["Persistence", "Storage"],
            swiftSettings: strict),
        .testTarget(name: "ReplicationTests", dependencies: ["Replication"], swiftSettings: strict),
        .testTarget(name: "GossipTests", dependencies: ["Gossip"], swiftSettings: strict),
        .testTarget(
            name: "SentinelTests", dependencies: ["Sentinel", "Base"], swiftSettings: strict),
        .testTarget(
            name: "CommandsTests",
            dependencies: [
                "NodeCore", "Commands", "Scripting", "Engine", "Storage", "RESP", "HashSlots",
                "Base",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ServerTests", dependencies: ["Server", "NodeCore", "Engine", "Base"],
            swiftSettings: strict),
        .testTarget(
            name: "SimulatorTests", dependencies: ["Simulator", "Base"], swiftSettings: strict),
        .testTarget(
            name: "BudgetTests",
            dependencies: ["CLinux", "NodeCore", "Engine", "Storage", "RESP", "Base"],
            swiftSettings: strict),
        .testTarget(name: "TidyTests", swiftSettings: strict),
    ]
)
