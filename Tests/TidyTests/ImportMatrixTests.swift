// The layers of the architecture as a test: who may import whom. SwiftPM lets a target import what
// one of its dependencies happens to have built, so the package manifest alone does not hold it.
import Testing

private let everyLayerBelowServer: Set<String> = [
    "Base", "HashSlots", "RESP", "Storage", "Persistence", "Replication", "Gossip", "Engine",
    "Commands", "Scripting", "NodeCore",
]

/// For each target, the modules its files may import. The C library is Base's and Server's alone.
private let mayImport: [String: Set<String>] = [
    "Base": ["Glibc", "CLinux", "COpenSSL"],
    "HashSlots": ["Base"],
    "RESP": ["Base"],
    "Storage": ["Base", "HashSlots"],
    "Persistence": ["Base", "RESP", "Storage"],
    "Replication": ["Base"],
    "Gossip": ["Base", "HashSlots"],
    "Sentinel": ["Base"],
    "Engine": ["Base", "HashSlots", "RESP", "Storage", "Replication", "Persistence"],
    "Commands": ["Base", "HashSlots", "RESP", "Storage", "Replication", "Persistence", "Engine"],
    "Scripting": [
        "CLua", "Base", "HashSlots", "RESP", "Storage", "Persistence", "Engine",
    ],
    "NodeCore": everyLayerBelowServer.subtracting(["NodeCore"]),
    "Server": everyLayerBelowServer.union(["Sentinel", "Glibc", "CLinux", "Synchronization"]),
    "ClusterNode": ["Server", "Glibc"],
    "SentinelNode": ["Server", "Glibc"],
    "Simulator": everyLayerBelowServer.union(["Sentinel"]),
    "simulate": ["Simulator", "Base", "Glibc"],
]

@Suite struct ImportMatrixTests {
    @Test func nothingImportsUpward() throws {
        for file in try SourceTree.sources.get() {
            guard let allowed = mayImport[file.target] else {
                Issue.record("\(file.path): add the target \(file.target) to the import matrix")
                continue
            }
            for (line, module) in file.imports where !allowed.contains(module) {
                Issue.record("\(file.path):\(line): \(file.target) must not import \(module)")
            }
        }
    }

    @Test func noImportIsTwiceInAFile() throws {
        for file in try SourceTree.sources.get() {
            let modules = file.imports.map(\.module)
            #expect(Set(modules).count == modules.count, "\(file.path): a module is imported twice")
        }
    }
}
