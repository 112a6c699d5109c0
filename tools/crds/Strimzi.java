// Checks Strimzi's custom resources, a JSON list on standard input, by Strimzi's own classes. Prints what
// they refuse or do not know, a line each.
//
//     java -cp '.tools/crds/strimzi/*' tools/crds/Strimzi.java < resources.json

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.lang.reflect.Method;
import java.util.List;
import java.util.Map;

public final class Strimzi {
    private static final Map<String, String> CLASSES = Map.of(
            "KafkaTopic", "io.strimzi.api.kafka.model.topic.KafkaTopic",
            "KafkaUser", "io.strimzi.api.kafka.model.user.KafkaUser");

    public static void main(String[] arguments) throws Exception {
        ObjectMapper mapper = new ObjectMapper();
        for (JsonNode resource : mapper.readTree(System.in)) {
            String name = resource.at("/kind").asText() + "/" + resource.at("/metadata/name").asText();
            Class<?> kind = Class.forName(CLASSES.get(resource.at("/kind").asText()));
            List<?> versions = (List<?>) kind.getField("VERSIONS").get(null);
            String version = resource.at("/apiVersion").asText();
            if (!version.startsWith("kafka.strimzi.io/") || !versions.contains(version.split("/")[1])) {
                System.out.println(name + ": apiVersion " + version + ": one of " + versions + " is expected");
            }
            try {
                unknown(name, mapper.treeToValue(resource, kind));
            } catch (com.fasterxml.jackson.core.JsonProcessingException error) {
                System.out.println(name + ": " + error.getOriginalMessage());
            }
        }
    }

    /** Tell what was kept because no field of a class is named so. */
    private static void unknown(String path, Object value) throws ReflectiveOperationException {
        if (value instanceof List<?> list) {
            for (Object each : list) {
                unknown(path, each);
            }
        }
        if (value == null || !value.getClass().getName().startsWith("io.strimzi.") || value instanceof Enum<?>) {
            return;
        }
        for (Method method : value.getClass().getMethods()) {
            if (!method.getName().startsWith("get") || method.getParameterCount() > 0) {
                continue;
            }
            Object found = method.invoke(value);
            if (method.getName().equals("getAdditionalProperties")) {
                if (found != null && !((Map<?, ?>) found).isEmpty()) {
                    System.out.println(path + ": unknown: " + ((Map<?, ?>) found).keySet());
                }
            } else {
                unknown(path + "." + method.getName().substring(3).toLowerCase(), found);
            }
        }
    }
}
