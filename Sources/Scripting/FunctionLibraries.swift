// Libraries of functions: source text with a name, whose code registers functions when it is
// loaded. They are data: saved in RDB files, replicated, and loaded from source.
import Base
import CLua
import Engine

/// A function as FCALL finds it.
struct ScriptFunction {
    var name: String
    var description: [UInt8]?
    var flags: ScriptFlags
    var reference: Int32
    var library: String
}

struct FunctionLibrary {
    var name: String
    /// The whole source, its first line included.
    var source: [UInt8]
    var functions = SortedTable<String, ScriptFunction>()
}

/// A library while its code runs.
struct LoadingLibrary {
    /// FUNCTION LOAD of a client may take so long.
    static let limitMilliseconds = 500

    var library: FunctionLibrary
    let startTicks: UInt64

    func hasTakenTooLong(_ executor: ExecutorPointer) -> Bool {
        let ticks = executor.pointee.timer.ticks()
        let spent = executor.pointee.timer.nanoseconds(from: startTicks, to: ticks)
        return spent / 1_000_000 > UInt64(LoadingLibrary.limitMilliseconds)
    }
}

struct FunctionLibraries {
    private(set) var libraries = SortedTable<String, FunctionLibrary>()
    /// By the names of functions in lower case, which no two libraries share.
    private(set) var functions: [String: ScriptFunction] = [:]
    private(set) var sourceBytes = 0

    func function(_ name: Bytes) -> ScriptFunction? { functions[name.string.lowercased()] }

    /// Adds a library whose names are free.
    mutating func add(_ library: FunctionLibrary) {
        invariant(libraries[library.name] == nil, "a library is added once")
        libraries[library.name] = library
        sourceBytes += library.source.count
        for function in library.functions.values {
            functions[function.name.lowercased()] = function
        }
    }

    @discardableResult
    mutating func remove(_ name: String) -> FunctionLibrary? {
        guard let library = libraries[name] else { return nil }
        libraries[name] = nil
        sourceBytes -= library.source.count
        for function in library.functions.values {
            functions[function.name.lowercased()] = nil
        }
        return library
    }

    /// The first function of `library` that exists already.
    func collision(with library: FunctionLibrary) -> String? {
        library.functions.values.first { functions[$0.name.lowercased()] != nil }?.name
    }
}

extension ScriptEnginePointer {
    /// Compiles a library and runs its code; throws what FUNCTION LOAD answers. What it registered
    /// is not yet callable.
    func compileLibrary(
        _ source: Bytes, isLimited: Bool, shebang: Shebang
    ) throws(ShebangError) -> FunctionLibrary {
        invariant(pointee.loading == nil, "libraries are loaded one by one")
        pointee.loading = LoadingLibrary(
            library: FunctionLibrary(name: shebang.name, source: source.array),
            startTicks: executor.pointee.timer.ticks())
        var reason = clua_bytes()
        let code = source[shebang.length..<source.count]
        let result = clua_load_library(
            functionState, clua_bytes(code), isLimited ? 1 : 0, &reason)
        guard let library = pointee.loading?.library else { unreachable("it was set above") }
        pointee.loading = nil
        if result != 0 {
            let text = reason.bytes.string
            release(library)
            throw ShebangError(text)
        }
        guard !library.functions.isEmpty else { throw ShebangError("No functions registered") }
        return library
    }

    /// `redis.register_function`; the error, if it cannot be.
    func register(_ function: clua_function) -> String? {
        guard let loading = pointee.loading else { return "no library is loaded" }
        let name = function.name.array
        guard Shebang.isName(name) else { return Shebang.nameRule }
        let text = String(decoding: name, as: UTF8.self)
        guard !loading.library.functions.contains(text) else {
            return "Function already exists in the library"
        }
        let description = function.description.base == nil ? nil : function.description.array
        pointee.loading?.library.functions[text] = ScriptFunction(
            name: text, description: description,
            flags: ScriptFlags(rawValue: UInt8(truncatingIfNeeded: function.flags)),
            reference: function.reference, library: loading.library.name)
        return nil
    }

    /// Gives the functions of a library that is no more back to Lua.
    func release(_ library: FunctionLibrary) {
        guard let state = pointee.functionState else { return }
        for function in library.functions.values { clua_release(state, function.reference) }
    }

    // MARK: Changes

    /// FUNCTION LOAD: the name of the library.
    func loadLibrary(
        _ source: Bytes, replaces: Bool, isLimited: Bool
    ) throws(ShebangError) -> String {
        let shebang = try Shebang.ofLibrary(source)
        let old = pointee.libraries.libraries[shebang.name]
        guard old == nil || replaces else {
            throw ShebangError("Library '\(shebang.name)' already exists")
        }
        let library = try compileLibrary(source, isLimited: isLimited, shebang: shebang)
        pointee.libraries.remove(shebang.name)
        if let name = pointee.libraries.collision(with: library) {
            release(library)
            if let old { pointee.libraries.add(old) }
            throw ShebangError("Function \(name) already exists")
        }
        pointee.libraries.add(library)
        if let old { release(old) }
        return shebang.name
    }

    enum RestorePolicy {
        case append
        case replace
        case flush
    }

    /// Adds libraries from their sources, all or none.
    func restoreLibraries(
        _ sources: [[UInt8]], _ policy: RestorePolicy
    ) throws(ShebangError) {
        var fresh = FunctionLibraries()
        do throws(ShebangError) {
            for source in sources {
                try source.withBytesThrowing { (bytes) throws(ShebangError) in
                    let shebang = try Shebang.ofLibrary(bytes)
                    guard fresh.libraries[shebang.name] == nil else {
                        throw ShebangError("Library '\(shebang.name)' already exists")
                    }
                    let library = try compileLibrary(bytes, isLimited: false, shebang: shebang)
                    if let name = fresh.collision(with: library) {
                        release(library)
                        throw ShebangError("Function \(name) already exists")
                    }
                    fresh.add(library)
                }
            }
            try join(fresh, policy)
        } catch {
            for library in fresh.libraries.values { release(library) }
            throw error
        }
    }

    private func join(
        _ fresh: FunctionLibraries, _ policy: RestorePolicy
    ) throws(ShebangError) {
        var result = policy == .flush ? FunctionLibraries() : pointee.libraries
        var replaced: [FunctionLibrary] =
            policy == .flush ? pointee.libraries.libraries.values : []
        for library in fresh.libraries.values where result.libraries[library.name] != nil {
            guard policy == .replace else {
                throw ShebangError("Library \(library.name) already exists")
            }
            if let old = result.remove(library.name) { replaced.append(old) }
        }
        for library in fresh.libraries.values {
            if let name = result.collision(with: library) {
                throw ShebangError("Function \(name) already exists")
            }
        }
        for library in fresh.libraries.values { result.add(library) }
        pointee.libraries = result
        for library in replaced { release(library) }
    }

    /// A library from a file; what is wrong with it, if anything is.
    public func load(_ source: Bytes, replaces: Bool) -> String? {
        do throws(ShebangError) {
            _ = try loadLibrary(source, replaces: replaces, isLimited: false)
            return nil
        } catch {
            return error.text
        }
    }

    /// A primary's libraries take the place of ours; what is wrong with them, if anything is.
    public func replaceLibraries(_ sources: [[UInt8]]) -> String? {
        do throws(ShebangError) {
            try restoreLibraries(sources, .flush)
            return nil
        } catch {
            return error.text
        }
    }

    /// FUNCTION FLUSH: a new state, too.
    public func flushLibraries() {
        pointee.libraries = FunctionLibraries()
        clua_close(pointee.functionState)
        pointee.functionState = nil
    }

    /// The sources of all libraries, by name.
    public var librarySources: [[UInt8]] { pointee.libraries.libraries.values.map(\.source) }

    // MARK: Figures

    public var figures: ScriptFigures {
        var figures = ScriptFigures()
        figures.evalMemory = pointee.evalState.map { clua_memory($0) } ?? 0
        figures.functionMemory = pointee.functionState.map { clua_memory($0) } ?? 0
        figures.cachedScripts = pointee.scripts.count
        figures.scriptBytes = pointee.scriptBytes + pointee.scripts.capacity * 64
        figures.libraries = pointee.libraries.libraries.count
        figures.functions = pointee.libraries.functions.count
        figures.libraryBytes =
            pointee.libraries.sourceBytes + pointee.libraries.functions.capacity * 128
        return figures
    }
}

extension Array where Element == UInt8 {
    /// `withBytes` for bodies that throw what they say.
    func withBytesThrowing<E: Error>(_ body: (Bytes) throws(E) -> Void) throws(E) {
        var failure: E?
        withBytes { bytes in
            do throws(E) { try body(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
    }
}
