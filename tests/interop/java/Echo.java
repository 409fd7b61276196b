// Java's own WebSocket client, java.net.http: `java Echo.java URL` connects and sends back what comes, longer messages in
// two fragments, until the server closes; then it prints the close code.

import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

public class Echo implements WebSocket.Listener {
    private final CompletableFuture<Integer> code = new CompletableFuture<>();
    private StringBuilder text = new StringBuilder();
    private ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    public static void main(String[] arguments) {
        Echo echo = new Echo();
        HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(URI.create(arguments[0]), echo).join();
        System.out.println(echo.code.join());
        System.exit(0); // the client's threads would keep the program for a while
    }

    @Override
    public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean last) {
        text.append(part);
        if (!last) {
            socket.request(1);
            return null;
        }
        String whole = text.toString();
        text = new StringBuilder();
        int half = whole.length() / 2;
        if (half > 0 && Character.isHighSurrogate(whole.charAt(half - 1))) half--;
        String first = whole.substring(0, half);
        String second = whole.substring(half);
        CompletableFuture<WebSocket> sent = half < 100
            ? socket.sendText(whole, true)
            : socket.sendText(first, false).thenCompose(done -> socket.sendText(second, true));
        return goOn(sent);
    }

    @Override
    public CompletionStage<?> onBinary(WebSocket socket, ByteBuffer part, boolean last) {
        byte[] piece = new byte[part.remaining()];
        part.get(piece);
        bytes.writeBytes(piece);
        if (!last) {
            socket.request(1);
            return null;
        }
        byte[] whole = bytes.toByteArray();
        bytes = new ByteArrayOutputStream();
        int half = whole.length / 2;
        CompletableFuture<WebSocket> sent = half < 100
            ? socket.sendBinary(ByteBuffer.wrap(whole), true)
            : socket.sendBinary(ByteBuffer.wrap(whole, 0, half), false)
                .thenCompose(done -> socket.sendBinary(ByteBuffer.wrap(whole, half, whole.length - half), true));
        return goOn(sent);
    }

    // The next message may come once this one's echo has been sent; an error ends the program.
    private CompletionStage<?> goOn(CompletableFuture<WebSocket> sent) {
        return sent.whenComplete((socket, error) -> {
            if (error == null) socket.request(1);
            else code.completeExceptionally(error);
        });
    }

    @Override
    public CompletionStage<?> onClose(WebSocket socket, int status, String reason) {
        code.complete(status);
        return null; // the client answers
    }

    @Override
    public void onError(WebSocket socket, Throwable error) {
        code.completeExceptionally(error);
    }
}
