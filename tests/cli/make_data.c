/* make_data FOLDER: the data that the tests of the program use. FOLDER/idx: 120 and 40 pictures of 8 x 8 in 4 classes, gzipped
 * but for one file. FOLDER/pictures: 3 classes of 12, dark, grey and bright, PNG and JPEG of several sizes, one turned by EXIF. */
#include "data/make.h"

static void make_pictures(void)
{
    static const char *const classes[] = {"dark", "grey", "bright"};
    uint8_t pixels[3 * 40 * 24];
    char name[64];
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < 12; i++) {
            int value = 20 + 100 * c + i;
            memset(pixels, value, sizeof pixels);
            snprintf(name, sizeof name, "pictures/%s/%02d.%s", classes[c], i, i % 3 ? "png" : "JPG");
            if (i % 3) put_plain(name, 16 + i, 24, value);
            else put_jpeg(name, pixels, 40, 24, TJPF_RGB, i == 6 ? 6 : 1);
        }
    }
}

/* As a test of check, for only there its assertions work. */
START_TEST(data_is_made)
{
    put_idx_pictures("idx/train-images-idx3-ubyte.gz", 120, 8, 8);
    put_idx_labels("idx/train-labels-idx1-ubyte", 120, 4);
    put_idx_pictures("idx/t10k-images-idx3-ubyte.gz", 40, 8, 8);
    put_idx_labels("idx/t10k-labels-idx1-ubyte.gz", 40, 4);
    make_pictures();
}
END_TEST

int main(int argc, char **argv)
{
    if (argc != 2 || strlen(argv[1]) >= sizeof folder) return 2;
    strcpy(folder, argv[1]);
    Suite *suite = suite_create("data");
    TCase *tcase = tcase_create("data");
    tcase_add_test(tcase, data_is_made);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
