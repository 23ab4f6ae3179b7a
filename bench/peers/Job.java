import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** The job of every Java peer: decode, choose the letter, and write the action with it, in two ways. */
final class Job {
    static final ObjectMapper MAPPER = new ObjectMapper();
    private static final JsonFactory FACTORY = new JsonFactory();
    private static final byte[] ONE = "{\"variant\":\"one_button\",".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] TWO = "{\"variant\":\"two_button\",".getBytes(StandardCharsets.US_ASCII);

    /** Of an action: whom it is about. */
    record Contact(String email, String reference) {}

    private Job() {}

    static boolean subscribed(byte[] status) throws IOException {
        return status != null && MAPPER.readTree(status).get("subscribed").asBoolean();
    }

    /** As one writes it first: everything becomes objects, and text again. */
    static byte[] parse(byte[] action, boolean subscribed) throws IOException {
        ObjectNode node = (ObjectNode) MAPPER.readTree(action);
        node.put("variant", subscribed ? "one_button" : "two_button");
        return MAPPER.writeValueAsBytes(node);
    }

    /** As this app does it: only what decides is decoded, and the variant put before the rest. */
    static byte[] splice(byte[] action, boolean subscribed) throws IOException {
        contact(action);
        return email(action, subscribed);
    }

    /** The variant, before the bytes of an action. */
    static byte[] email(byte[] action, boolean subscribed) {
        byte[] head = subscribed ? ONE : TWO;
        byte[] email = new byte[head.length + action.length - 1];
        System.arraycopy(head, 0, email, 0, head.length);
        System.arraycopy(action, 1, email, head.length, action.length - 1);
        return email;
    }

    /** Read over everything but what decides. */
    static Contact contact(byte[] action) throws IOException {
        try (JsonParser parser = FACTORY.createParser(action)) {
            boolean asks = false;
            Contact contact = null;
            parser.nextToken();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                parser.nextToken();
                switch (name) {
                    case "stage" -> asks = "supporter_confirm".equals(parser.getText());
                    case "contact" -> contact = contact(parser);
                    default -> parser.skipChildren();
                }
            }
            if (!asks || contact == null || contact.reference() == null) {
                throw new IOException("no action that asks for a confirmation");
            }
            return contact;
        }
    }

    private static Contact contact(JsonParser parser) throws IOException {
        String email = null;
        String reference = null;
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String name = parser.currentName();
            parser.nextToken();
            switch (name) {
                case "email" -> email = parser.getText();
                case "contactRef", "ref" -> reference = parser.getText();
                default -> parser.skipChildren();
            }
        }
        return new Contact(email, reference);
    }
}
