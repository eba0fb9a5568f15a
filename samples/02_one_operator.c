/* One operator by hand: a convolution on buffers of our own, forward and its gradients, each checked against plain loops.
 *   02_one_operator [DEVICE] */
#include <math.h>
#include <monocle/monocle.h>
#include <stdio.h>
#include <stdlib.h>

/* Everything is channels last: a picture is x[h][w][c], weights are w[r][s][c][k]. */
enum { H = 6, W = 6, C = 2, R = 3, K = 2 };
typedef float picture[H][W][C];
typedef float weights[R][R][C][K];
typedef float result[H][W][K];

/* What the device is asked to compute: y = x * w with one pixel of padding, so that y is as large as x. With `dy`, also the
 * gradients of sum(y * dy): each product of the sum gives a share to dx and one to dw. */
static void plain_convolution(picture x, weights w, result y, result dy, picture dx, weights dw)
{
    for (int oh = 0; oh < H; oh++)
        for (int ow = 0; ow < W; ow++)
            for (int r = 0; r < R; r++)
                for (int s = 0; s < R; s++)
                    for (int c = 0; c < C; c++)
                        for (int k = 0; k < K; k++) {
                            int h = oh - 1 + r, v = ow - 1 + s;
                            if (h < 0 || h >= H || v < 0 || v >= W) continue;
                            y[oh][ow][k] += x[h][v][c] * w[r][s][c][k];
                            dx[h][v][c] += dy[oh][ow][k] * w[r][s][c][k];
                            dw[r][s][c][k] += dy[oh][ow][k] * x[h][v][c];
                        }
}

/* A buffer for `count` numbers; filled where `values` is not NULL. */
static mcl_status make(mcl_device *device, size_t count, const float *values, mcl_buffer **buffer)
{
    mcl_status status = mcl_buffer_create(device, count * sizeof *values, buffer);
    if (status == MCL_OK && values) status = mcl_buffer_write(*buffer, 0, count * sizeof *values, values);
    return status;
}

/* The largest difference between what the device computed and what we expect; negative when it could not be read. */
static double difference(mcl_buffer *buffer, const float *expected, size_t count)
{
    float values[H * W * C + R * R * C * K];
    double largest = 0;
    if (mcl_buffer_read(buffer, 0, count * sizeof *values, values) != MCL_OK) return -1;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs((double)values[i] - (double)expected[i]));
    return largest;
}

static void print_channel(const char *name, mcl_buffer *buffer)
{
    result y;
    if (mcl_buffer_read(buffer, 0, sizeof y, y) != MCL_OK) return;
    printf("%s, channel 0:\n", name);
    for (int h = 0; h < H; h++) {
        for (int v = 0; v < W; v++) printf(" %6.2f", (double)y[h][v][0]);
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    enum { X, Y, WEIGHTS, DX, DY, DW, BUFFERS };
    picture x, dx = {{{0}}};
    weights w, dw = {{{{0}}}};
    result y = {{{0}}}, dy;
    mcl_buffer *buffer[BUFFERS] = {NULL};
    mcl_device *device = NULL;
    mcl_error error = {0};

    /* A diagonal edge, and filters that see horizontal and vertical steps. */
    for (int h = 0; h < H; h++)
        for (int v = 0; v < W; v++)
            for (int c = 0; c < C; c++) {
                x[h][v][c] = h > v ? 1.0f : 0.1f * (float)c;
                dy[h][v][c] = 0.01f * (float)(h * W + v) - 0.1f * (float)c;
            }
    for (int r = 0; r < R; r++)
        for (int s = 0; s < R; s++)
            for (int c = 0; c < C; c++) w[r][s][c][0] = (float)(r - 1), w[r][s][c][1] = (float)(s - 1) / (float)(c + 1);
    plain_convolution(x, w, y, dy, dx, dw);

    if (mcl_device_open(argc > 1 ? argv[1] : NULL, NULL, &device, &error) != MCL_OK) goto failed;
    printf("device: %s\n", mcl_device_get_info(device)->name);
    const float *const values[BUFFERS] = {[X] = &x[0][0][0], [WEIGHTS] = &w[0][0][0][0], [DY] = &dy[0][0][0]};
    const size_t counts[BUFFERS] = {H * W * C, H * W * K, R * R * C * K, H * W * C, H * W * K, R * R * C * K};
    for (int i = 0; i < BUFFERS; i++)
        if (make(device, counts[i], values[i], &buffer[i]) != MCL_OK) goto device_failed;

    /* Arrays are views: a buffer and a shape. They own nothing. */
    mcl_array ax = {buffer[X], 0, 4, {1, H, W, C}}, adx = ax, ay = {buffer[Y], 0, 4, {1, H, W, K}}, ady = ay;
    mcl_array aw = {buffer[WEIGHTS], 0, 4, {R, R, C, K}}, adw = aw;
    adx.buffer = buffer[DX], ady.buffer = buffer[DY], adw.buffer = buffer[DW];
    mcl_conv2d_options options = {.padding = 1};
    if (mcl_conv2d_forward(ax, aw, NULL, &options, ay, &error) != MCL_OK) goto failed;
    if (mcl_conv2d_backward_data(ady, aw, &options, adx, &error) != MCL_OK) goto failed;
    if (mcl_conv2d_backward_weight(ax, ady, &options, adw, &error) != MCL_OK) goto failed;
    print_channel("y", buffer[Y]);

    double worst = 0;
    const struct { const char *name; int buffer; const float *expected; } rows[] = {
        {"y", Y, &y[0][0][0]}, {"gradient of the picture", DX, &dx[0][0][0]}, {"gradient of the weights", DW, &dw[0][0][0][0]}};
    for (int i = 0; i < 3; i++) {
        double most = difference(buffer[rows[i].buffer], rows[i].expected, counts[rows[i].buffer]);
        if (most < 0) goto device_failed;
        printf("%-24s differs from plain loops by at most %.1e\n", rows[i].name, most);
        worst = fmax(worst, most);
    }

    /* A mistake is told with both shapes. */
    ay.size[1] = H - 1;
    if (mcl_conv2d_forward(ax, aw, NULL, &options, ay, &error) == MCL_ERROR_SHAPE) printf("a wrong shape: %s\n", error.text);
    for (int i = 0; i < BUFFERS; i++) mcl_buffer_destroy(buffer[i]);
    mcl_device_close(device);
    return worst < 1e-5 ? EXIT_SUCCESS : EXIT_FAILURE;

device_failed:
    error = *mcl_device_error(device);
failed:
    fprintf(stderr, "error: %s\n", *error.text ? error.text : mcl_status_sentence(error.status));
    for (int i = 0; i < BUFFERS; i++) mcl_buffer_destroy(buffer[i]);
    mcl_device_close(device);
    return EXIT_FAILURE;
}
