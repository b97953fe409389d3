package thingbeam;

import java.lang.reflect.Field;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import net.bytebuddy.asm.Advice;
import org.apache.beam.model.pipeline.v1.RunnerApi.ExecutableStagePayload;
import org.apache.beam.model.pipeline.v1.RunnerApi.PTransform;
import org.apache.beam.runners.flink.translation.wrappers.streaming.ExecutableStageDoFnOperator;
import org.apache.flink.api.dag.Transformation;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.operators.SimpleOperatorFactory;
import org.apache.flink.streaming.api.operators.StreamOperatorFactory;
import org.apache.flink.streaming.api.transformations.OneInputTransformation;
import org.apache.flink.streaming.api.transformations.PhysicalTransformation;
import org.apache.flink.streaming.api.transformations.SideOutputTransformation;
import org.apache.flink.streaming.api.transformations.TwoInputTransformation;

/**
 * Gives the operators of a job names that stay, by which a savepoint knows them.
 *
 * <p>Beam's Flink runner 2.70 gives none. Flink then counts operators in the order of their translation, and that
 * follows from hashes: the same pipeline may find no state in its own savepoint, and chains that differ, as between
 * parallelism 1 and more, always lead to others. Here a stage is named after its steps that keep something, or else
 * after all its steps; what has the same name as another is told apart by what it reads.
 */
public final class Operators {
  private static final Set<String> KEEPING =
      new HashSet<>(
          Arrays.asList(
              "beam:transform:sdf_process_sized_element_and_restrictions:v1",
              "beam:transform:sdf_process_elements:v1"));

  private final Map<Transformation<?>, String> own = new IdentityHashMap<>();
  private final Map<String, Integer> times = new TreeMap<>();

  private Operators() {}

  /** Before a job is sent. */
  static final class Name {
    @Advice.OnMethodEnter
    static void enter(@Advice.FieldValue("executionEnvironment") StreamExecutionEnvironment environment) {
      Operators.name(environment);
    }
  }

  /** Names all operators of a job that have no name yet. */
  public static void name(StreamExecutionEnvironment environment) {
    Operators operators = new Operators();
    for (Transformation<?> last : environment.getTransformations()) {
      operators.note(last);
    }
    Map<String, Integer> named = new TreeMap<>();
    operators.own.keySet().stream()
        .filter(operator -> operator instanceof PhysicalTransformation && operator.getUid() == null)
        .sorted(Comparator.comparingInt(Transformation::getId))
        .forEach(
            operator -> {
              String name = operators.nameOf(operator);
              // Those that nothing tells apart are told by their order.
              int twins = named.merge(name, 1, Integer::sum);
              operator.setUid(twins == 1 ? name : name + "#" + twins);
            });
  }

  private void note(Transformation<?> operator) {
    if (own.containsKey(operator)) {
      return;
    }
    String name = keeping(operator);
    if (name == null) {
      // In the order of the alphabet: that of the steps in a stage's name may differ.
      name = new TreeSet<>(Arrays.asList(operator.getName().split("[\\s,{}]+"))).toString();
    }
    own.put(operator, name);
    times.merge(name, 1, Integer::sum);
    operator.getInputs().forEach(this::note);
  }

  private String nameOf(Transformation<?> operator) {
    String name = own.get(operator);
    if (operator instanceof SideOutputTransformation) {
      name = ((SideOutputTransformation<?>) operator).getOutputTag().getId();
    } else if (operator instanceof PhysicalTransformation && times.get(name) == 1) {
      return name;
    }
    Collection<String> inputs =
        operator.getInputs().stream().map(this::nameOf).sorted().collect(Collectors.toList());
    return name + inputs;
  }

  /** A stage's steps that have state, timers or work that goes on; null where there are none. */
  private static String keeping(Transformation<?> operator) {
    StreamOperatorFactory<?> factory = null;
    if (operator instanceof OneInputTransformation) {
      factory = ((OneInputTransformation<?, ?>) operator).getOperatorFactory();
    } else if (operator instanceof TwoInputTransformation) {
      factory = ((TwoInputTransformation<?, ?, ?>) operator).getOperatorFactory();
    }
    if (!(factory instanceof SimpleOperatorFactory)) {
      return null;
    }
    Object made = ((SimpleOperatorFactory<?>) factory).getOperator();
    if (!(made instanceof ExecutableStageDoFnOperator)) {
      return null;
    }
    ExecutableStagePayload stage = payloadOf((ExecutableStageDoFnOperator<?, ?>) made);
    Set<String> ids = new HashSet<>();
    stage.getUserStatesList().forEach(state -> ids.add(state.getTransformId()));
    stage.getTimersList().forEach(timer -> ids.add(timer.getTransformId()));
    Map<String, PTransform> steps = stage.getComponents().getTransformsMap();
    for (String id : stage.getTransformsList()) {
      if (KEEPING.contains(steps.get(id).getSpec().getUrn())) {
        ids.add(id);
      }
    }
    List<String> names =
        ids.stream().map(id -> steps.get(id).getUniqueName()).sorted().collect(Collectors.toList());
    return names.isEmpty() ? null : names.toString();
  }

  private static ExecutableStagePayload payloadOf(ExecutableStageDoFnOperator<?, ?> operator) {
    try {
      Field field = ExecutableStageDoFnOperator.class.getDeclaredField("payload");
      field.setAccessible(true);
      return (ExecutableStagePayload) field.get(operator);
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("another runner than 2.70", e);
    }
  }
}
