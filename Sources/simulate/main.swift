// Runs simulated clusters, one per seed. See `SimulateCommand` in `Simulator`.
import Glibc
import Simulator

exit(
    SimulateCommand.run(CommandLine.arguments) {
        print($0)
        // A run that an invariant ends must leave its lines behind.
        fflush(nil)
    })
