package thingbeam;

import java.util.Collections;
import java.util.Map;
import java.util.WeakHashMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import net.bytebuddy.asm.MemberSubstitution;
import org.apache.beam.sdk.util.construction.graph.ExecutableStage;
import org.apache.beam.sdk.util.construction.graph.PipelineNode.PTransformNode;

/**
 * Mends how Beam's Flink runner 2.70 spreads the tasks of a TaskManager over its workers.
 *
 * <p>With {@code --sdk_worker_parallelism} of 2 and more a TaskManager has so many workers, and a task is bound to one of
 * them when it opens: each task of whatever stage to the next worker. Tasks open at the same time, in no order, so that
 * both tasks of the stage that has all the work may well share one worker, and the other has nothing to do. Here the
 * tasks of each stage take turns among themselves.
 */
public final class Turns {
  private static final Map<AtomicInteger, Map<String, AtomicInteger>> STAGES =
      Collections.synchronizedMap(new WeakHashMap<>());

  private Turns() {}

  /**
   * Stands in for a job's own count of its tasks.
   *
   * @param all the count, of which each job has its own
   * @param stage whose task opens
   */
  public static int next(
      @MemberSubstitution.This AtomicInteger all,
      @MemberSubstitution.Argument(value = 1, source = MemberSubstitution.Source.ENCLOSING_METHOD)
          ExecutableStage stage) {
    String name = stage.getTransforms().stream().map(PTransformNode::getId).sorted().collect(Collectors.joining("\n"));
    return STAGES
        .computeIfAbsent(all, job -> new ConcurrentHashMap<>())
        .computeIfAbsent(name, task -> new AtomicInteger())
        .getAndIncrement();
  }
}
