package thingbeam;

import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.WeakHashMap;
import net.bytebuddy.asm.Advice;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.FinalizeBundleRequest;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.InstructionRequest;
import org.apache.beam.runners.fnexecution.control.InstructionRequestHandler;
import org.apache.flink.runtime.state.StateSnapshotContext;

/**
 * Mends which bundles Beam's Flink runner 2.70 finalises when a checkpoint is complete.
 *
 * <p>The runner finalises all that have ended by then, those among them that ended after the snapshot. What they read
 * is acknowledged to its source, though what later steps made of it is in no checkpoint yet: who starts again from what
 * was acknowledged loses it. Here a complete checkpoint finalises the bundles that had ended at its snapshot.
 */
public final class Finalizations {
  // By operator: the bundles that each snapshot was the first to cover.
  private static final Map<Object, TreeMap<Long, List<String>>> COVERED =
      Collections.synchronizedMap(new WeakHashMap<>());

  private Finalizations() {}

  /** A task's state has been written. */
  static final class Snapshot {
    @Advice.OnMethodExit
    static void exit(@Advice.This Object operator, @Advice.Argument(0) StateSnapshotContext snapshot) {
      Finalizations.cover(operator, snapshot.getCheckpointId());
    }
  }

  /** All tasks' state has been written. */
  static final class Complete {
    @Advice.OnMethodExit
    static void exit(@Advice.This Object operator, @Advice.Argument(0) long checkpoint) {
      Finalizations.complete(operator, checkpoint);
    }
  }

  /** Notes which bundles a snapshot covers. */
  public static void cover(Object operator, long checkpoint) {
    Object handler = handlerOf(operator);
    if (handler == null) {
      return;
    }
    synchronized (handler) {
      @SuppressWarnings("unchecked")
      List<String> ended = (List<String>) valueOf(handler, "bundleIds");
      COVERED.computeIfAbsent(operator, any -> new TreeMap<>()).put(checkpoint, new ArrayList<>(ended));
      ended.clear();
    }
  }

  /** Finalises what the checkpoint covers, and those before it that never became complete. */
  public static void complete(Object operator, long checkpoint) {
    TreeMap<Long, List<String>> covered = COVERED.get(operator);
    if (covered == null) {
      return;
    }
    InstructionRequestHandler worker =
        (InstructionRequestHandler) valueOf(handlerOf(operator), "fnApiControlClient");
    Map<Long, List<String>> done = covered.headMap(checkpoint, true);
    for (List<String> bundles : done.values()) {
      for (String bundle : bundles) {
        worker.handle(
            InstructionRequest.newBuilder()
                .setFinalizeBundle(FinalizeBundleRequest.newBuilder().setInstructionId(bundle))
                .build());
      }
    }
    done.clear();
  }

  /** What asks a worker to finalise, or null where an operator is none of a portable stage's. */
  private static Object handlerOf(Object operator) {
    return operator.getClass().getSimpleName().equals("ExecutableStageDoFnOperator")
        ? valueOf(operator, "finalizationHandler")
        : null;
  }

  private static Object valueOf(Object owner, String name) {
    try {
      Field field = owner.getClass().getDeclaredField(name);
      field.setAccessible(true);
      return field.get(owner);
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("another runner than 2.70", e);
    }
  }
}
