package thingbeam;

import static net.bytebuddy.matcher.ElementMatchers.isConstructor;
import static net.bytebuddy.matcher.ElementMatchers.named;

import java.io.File;
import java.io.IOException;
import java.util.concurrent.atomic.AtomicInteger;
import net.bytebuddy.ByteBuddy;
import net.bytebuddy.asm.Advice;
import net.bytebuddy.asm.AsmVisitorWrapper;
import net.bytebuddy.asm.MemberSubstitution;
import net.bytebuddy.dynamic.ClassFileLocator;
import net.bytebuddy.pool.TypePool;
import org.apache.beam.sdk.util.construction.graph.ExecutableStage;

/**
 * Mends Beam's Flink runner 2.70; Residuals, Finalizations, Operators, Turns and Promptness say
 * what and why.
 *
 * <p>Run with the runner's jar and a folder: writes the changed classes there.
 */
public final class Mend {
  private static final String STREAMING = "org.apache.beam.runners.flink.translation.wrappers.streaming.";

  private final ClassFileLocator classes;
  private final File folder;

  private Mend(File jar, File folder) throws IOException {
    this.classes =
        new ClassFileLocator.Compound(
            ClassFileLocator.ForJarFile.of(jar),
            ClassFileLocator.ForClassLoader.of(Mend.class.getClassLoader()),
            ClassFileLocator.ForClassLoader.ofPlatformLoader());
    this.folder = folder;
  }

  public static void main(String[] arguments) throws IOException, NoSuchMethodException {
    Mend mend = new Mend(new File(arguments[0]), new File(arguments[1]));
    mend.change(
        "org.apache.beam.runners.fnexecution.control.BundleCheckpointHandlers$StateAndTimerBundleCheckpointHandler",
        Advice.to(Residuals.Keep.class).on(named("onCheckpoint")));
    mend.change(
        STREAMING + "ExecutableStageDoFnOperator$SdkHarnessDoFnRunner",
        Advice.to(Residuals.Clear.class).on(named("onTimer")),
        Advice.to(Promptness.Firing.class).on(named("onTimer")));
    mend.change(
        "org.apache.beam.sdk.fn.data.BeamFnDataOutboundAggregator",
        Advice.to(Promptness.Sending.class).on(named("flushInternal")));
    mend.change(
        STREAMING + "DoFnOperator", Advice.to(Finalizations.Snapshot.class).on(named("snapshotState")));
    mend.change(
        STREAMING + "ExecutableStageDoFnOperator",
        MemberSubstitution.strict()
            .method(named("finalizeAllOutstandingBundles"))
            .stub()
            .on(named("notifyCheckpointComplete")),
        Advice.to(Finalizations.Complete.class).on(named("notifyCheckpointComplete")));
    mend.change(
        "org.apache.beam.runners.flink.FlinkStreamingPortablePipelineTranslator$StreamingTranslationContext",
        Advice.to(Operators.Name.class).on(named("execute")));
    mend.change(
        "org.apache.beam.runners.fnexecution.control.DefaultJobBundleFactory$SimpleStageBundleFactory",
        MemberSubstitution.strict()
            .method(named("getAndIncrement"))
            .replaceWithChain(
                MemberSubstitution.Substitution.Chain.Step.ForDelegation.to(
                    Turns.class.getMethod("next", AtomicInteger.class, ExecutableStage.class)))
            .on(isConstructor()));
  }

  private void change(String name, AsmVisitorWrapper... changes) throws IOException {
    TypePool types = TypePool.Default.of(classes);
    new ByteBuddy()
        .redefine(types.describe(name).resolve(), classes)
        .visit(new AsmVisitorWrapper.Compound(changes))
        .make(types)
        .saveIn(folder);
  }
}
